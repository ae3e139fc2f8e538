// Trains and evaluates small networks, one model after the other: many steps of a model in one call, with its weights
// and activations in the processor's caches. Called from Python through ctypes (see structs.py): plain C structures.
//
// A network is a chain of layers over examples of (channels, height, width); a vector is an image of one pixel, and a
// linear layer a convolution whose kernel covers its whole input. In memory, examples lie along the vector lanes:
//
//   activations  [tile][pixel][channel][TILE]   TILE examples, those of NV vectors; a batch is one tile or more
//   weights      [tap][input channel][output channel, padded to whole vectors]
//
// So norms over channels, activations, pooling and softmax are plain arithmetic on vectors, and a contraction (linear
// layer or convolution, its gradients too) is one small kernel: a block of numbers, each times a vector, added up in
// registers. Lanes beyond the batch hold zeros in inputs, in what a contraction makes, and in gradients. Sums are
// always taken in the same order: what a model becomes depends on nothing but its own settings, this source, its
// compiler and the width of the vectors.
//
// Compile with -DSCALAR=float or double and -DVECTOR_BYTES=64, 32 or 16, the width of the machine's registers; without
// -ffast-math, which would lose infinities and NaN.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using Scalar = SCALAR;
using Integer = std::conditional_t<sizeof(Scalar) == 4, int32_t, int64_t>;
constexpr int LANES = VECTOR_BYTES / int(sizeof(Scalar));
constexpr int NV = 2, TILE = NV * LANES;  // vectors that are worked on together, and their examples
typedef Scalar Vector __attribute__((vector_size(VECTOR_BYTES)));
typedef Integer Mask __attribute__((vector_size(VECTOR_BYTES)));  // of a comparison: all bits set where it holds

#if defined(__AVX512F__) || defined(__aarch64__)  // 32 registers
constexpr int ROWS = 8, DOT_ROWS = 4, DOT_LINE = 16;
#else
constexpr int ROWS = 4, DOT_ROWS = 2, DOT_LINE = 8;
#endif
// ROWS: numbers that a kernel multiplies with its vectors. DOT_ROWS x DOT_COLUMNS: a block of dot products; where there
// are fewer rows, DOT_TAPS x DOT_COLUMNS, or a line of DOT_LINE.
constexpr int DOT_COLUMNS = 4, DOT_TAPS = 3;

inline Vector fill(Scalar x) { return Vector{} + x; }
inline Vector load(const Scalar* x) { return *reinterpret_cast<const Vector*>(x); }
inline void store(Scalar* x, Vector v) { *reinterpret_cast<Vector*>(x) = v; }
inline Vector keep(Vector x, Mask mask) { return reinterpret_cast<Vector>(reinterpret_cast<Mask>(x) & mask); }
inline Scalar inverse_root(Scalar x) { return 1 / std::sqrt(x); }
inline int64_t whole_vectors(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

// ---------------------------------------------------------------------------------------------------------- shuffles

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, Mask{__VA_ARGS__})
#endif

// Each of two vectors is made of groups of SIZE lanes: the first (or second) halves of all groups, one vector's first.
constexpr int half_of_group(int lane, int size, bool second) {
  int group = lane / (size / 2), groups = LANES / size;
  return group / groups * LANES + group % groups * size + lane % (size / 2) + (second ? size / 2 : 0);
}
template <int SIZE, int... LANE>
inline Vector add_halves(Vector a, Vector b, std::integer_sequence<int, LANE...>) {
  return SHUFFLE(a, b, half_of_group(LANE, SIZE, false)...) + SHUFFLE(a, b, half_of_group(LANE, SIZE, true)...);
}

// The sums over the lanes of LANES vectors, as one vector.
template <int SIZE = LANES>
inline Vector lane_sums(Vector* v) {
  if constexpr (SIZE == 1) {
    return v[0];
  } else {
    for (int i = 0; i < SIZE / 2; i++)
      v[i] = add_halves<SIZE>(v[2 * i], v[2 * i + 1], std::make_integer_sequence<int, LANES>());
    return lane_sums<SIZE / 2>(v);
  }
}
inline Scalar lane_sum(Vector v) {
  Scalar sum = 0;
  for (int lane = 0; lane < LANES; lane++) sum += v[lane];
  return sum;
}

// Rows and columns of LANES vectors exchanged: off-diagonal blocks of every size change places.
template <int SIZE, int... LANE>
inline void exchange(Vector& a, Vector& b, std::integer_sequence<int, LANE...>) {
  Vector first = SHUFFLE(a, b, (LANE & SIZE ? LANE - SIZE + LANES : LANE)...);
  b = SHUFFLE(a, b, (LANE & SIZE ? LANE + LANES : LANE + SIZE)...);
  a = first;
}
template <int SIZE = LANES / 2>
inline void transpose(Vector* v) {
  for (int i = 0; i < LANES; i++)
    if (!(i & SIZE)) exchange<SIZE>(v[i], v[i + SIZE], std::make_integer_sequence<int, LANES>());
  if constexpr (SIZE > 1) transpose<SIZE / 2>(v);
}

// --------------------------------------------------------------------------------------- exp, log, tanh, lane by lane

template <class F>
inline Vector each_lane(Vector x, F function) {
  for (int lane = 0; lane < LANES; lane++) x[lane] = function(x[lane]);
  return x;
}

// Within two units in the last place in single precision (coefficients: Cephes, Moshier 1992); libm's in double.
inline Vector exponential(Vector x) {
  if constexpr (sizeof(Scalar) == 8) {
    return each_lane(x, [](Scalar one) { return std::exp(one); });
  } else {
    x = x < Scalar(-104) ? fill(-104) : x;
    x = x > Scalar(89) ? fill(89) : x;
    const Vector shift = fill(12582912);  // 1.5 * 2^23: adding it rounds to whole numbers
    Vector n = x * Scalar(1.44269504088896341) + shift;
    Mask exponent = reinterpret_cast<Mask>(n) - reinterpret_cast<Mask>(shift);
    n = n - shift;
    Vector r = x - n * Scalar(0.693359375) - n * Scalar(-2.12194440e-4);
    Vector p = fill(1.9875691500e-4f);
    for (float coefficient : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
      p = p * r + Scalar(coefficient);
    p = p * r * r + r + Scalar(1);
    Mask half = exponent >> 1;  // in two steps: the power of two alone may lie outside of the range
    return p * reinterpret_cast<Vector>((half + 127) << 23) * reinterpret_cast<Vector>((exponent - half + 127) << 23);
  }
}
inline Vector logarithm(Vector x) {
  if constexpr (sizeof(Scalar) == 8) {
    return each_lane(x, [](Scalar one) { return std::log(one); });
  } else {
    Mask bits = reinterpret_cast<Mask>(x);
    Mask exponent = (bits - 0x3f3504f3) >> 23;  // so that the mantissa lies between sqrt(1/2) and sqrt(2)
    Vector m = reinterpret_cast<Vector>(bits - (exponent << 23)) - Scalar(1);
    Vector e = __builtin_convertvector(exponent, Vector);
    Vector p = fill(7.0376836292e-2f);
    for (float coefficient : {-1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f,
                              -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f})
      p = p * m + Scalar(coefficient);
    Vector z = m * m;
    Vector out = m + (p * m * z + e * Scalar(-2.12194440e-4) - z * Scalar(0.5)) + e * Scalar(0.693359375);
    return x < std::numeric_limits<Scalar>::infinity() ? out : x;  // infinity, NaN; none is below 1 here
  }
}
inline Vector hyperbolic_tangent(Vector x) {
  if constexpr (sizeof(Scalar) == 8) {
    return each_lane(x, [](Scalar one) { return std::tanh(one); });
  } else {
    Vector size = x < Scalar(0) ? -x : x, z = x * x;
    Vector p = fill(-5.70498872745e-3f);
    for (float coefficient : {2.06390887954e-2f, -5.37397155531e-2f, 1.33314422036e-1f, -3.33332819422e-1f})
      p = p * z + Scalar(coefficient);
    Vector near = p * z * x + x, far = Scalar(1) - Scalar(2) / (exponential(size + size) + Scalar(1));
    return size < Scalar(0.625) ? near : (x < Scalar(0) ? -far : far);
  }
}

// ----------------------------------------------------------------------------------------------- the kernels of sums

// sums[r][v] += a[r] times the vectors b[v], for `count` rows of both.
template <int R, int V>
inline void multiply_add(Vector (&sums)[R][V], const Scalar* a, int64_t a_row, int64_t a_step, const Scalar* b,
                         int64_t b_step, int64_t count) {
  for (int64_t k = 0; k < count; k++) {
    Vector vectors[V];
    for (int v = 0; v < V; v++) vectors[v] = load(b + k * b_step + v * LANES);
    for (int r = 0; r < R; r++) {
      Vector factor = fill(a[r * a_row + k * a_step]);
      for (int v = 0; v < V; v++) sums[r][v] += factor * vectors[v];
    }
  }
}

template <int N>
using Size = std::integral_constant<int, N>;

// Calls function(Size<8>, start), ... for blocks of ROWS rows, then of fewer, until all are done.
template <int R = ROWS, class F>
inline void in_blocks(int64_t start, int64_t stop, F function) {
  for (; start + R <= stop; start += R) function(Size<R>(), start);
  if constexpr (R > 1) in_blocks<R / 2>(start, stop, function);
}

}  // namespace

// ------------------------------------------------------------------------- what Python says: mirrored in structs.py

enum Kind : int32_t { CONTRACTION, NORM, ACTIVATION, POOL };
enum Function : int32_t { RELU, TANH, SIGMOID };
enum Rule : int32_t { SGD, ADAMW, ADAM };

extern "C" {
struct Layer {
  int32_t kind;
  int32_t in_channels, in_height, in_width, channels, height, width;
  int32_t kernel_height, kernel_width, pad_height, pad_width;  // a pool's stride is its kernel
  int32_t function;                                            // of an activation
  int32_t groups;                   // of a norm: groups of channels of each example, 0: over the batch
  int32_t centred;                  // whether a norm subtracts the mean
  int32_t is_norm_free_bias;        // whether the bias of a contraction has no gradient, since a batch norm follows
  int32_t weight, bias;             // numbers of the parameters, -1: none
  int32_t mean, variance, batches;  // numbers of the buffers, -1: none
  double eps, momentum;             // a momentum below 0 stands for the average of all batches
};
struct Network {
  const Layer* layers;
  int32_t layer_count, parameter_count;
  const int64_t* parameter_sizes;  // numbers of one model
  const int32_t* parameter_is_norm;
};
struct Models {  // tensors of M models, each contiguous, the models first
  int64_t count;
  Scalar* const* parameters;
  void* const* buffers;  // running means and variances; batches seen so far as int64
  int64_t* fail_steps;   // M: the first step whose loss was not finite, counted from 1; below 0: none
};
struct Examples {  // example n of model m: x + m * x_model + index * x_example, index = indices[m * row + n] or n
  const Scalar* x;
  int64_t x_example, x_model;
  const int64_t* y;  // labels, by the same index; y + m * y_model
  int64_t y_model;
  const int64_t* indices;  // or null
  int64_t indices_row;
};
struct Optimizer {
  int32_t rule, nesterov, slot_count;
  Scalar* const* slots;  // slot s of parameter p: slots[s * parameter_count + p]
  const double *lr, *momentum, *weight_decay, *norm_weight_decay, *max_grad_norm;  // M
  const double* factors;                                                           // steps: on lr
  const double* corrections;                                                       // steps x M x 2: of Adam
  const double *rest1, *beta2, *rest2, *eps;                                       // M: of Adam, 1 - beta and beta
  double clip_eps;
};
}

namespace {

// Memory of one model's training, aligned to vectors and given out piece by piece.
class Arena {
 public:
  template <class T>
  T* take(int64_t count) {
    int64_t bytes = (count * int64_t(sizeof(T)) + VECTOR_BYTES - 1) / VECTOR_BYTES * VECTOR_BYTES;
    void* piece = std::aligned_alloc(VECTOR_BYTES, std::max<int64_t>(bytes, VECTOR_BYTES));
    if (!piece) throw std::bad_alloc();
    std::memset(piece, 0, bytes);
    pieces_.push_back(piece);
    return static_cast<T*>(piece);
  }
  Arena() = default;
  Arena(const Arena&) = delete;
  ~Arena() {
    for (void* piece : pieces_) std::free(piece);
  }

 private:
  std::vector<void*> pieces_;
};

class Trainer {
 public:
  Trainer(const Network& network, int64_t batch)
      : net_(network), layers_(network.layers, network.layers + network.layer_count), state_(network.layer_count) {
    for (Mask& lanes : lanes_[0]) lanes = ~Mask{};
    set_batch(batch);
    place_parameters();
    place_activations();
  }

  int64_t tiles() const { return tiles_; }

  // --------------------------------------------------------------------------- a model's tensors, in and out

  void load_model(const Models& models, int64_t model) {
    for_each_parameter([&](int p, int64_t numbers) { pack(p, models.parameters[p] + model * numbers, parameters_); });
    buffers_ = models.buffers;
    model_ = model;
  }
  void store_model(const Models& models, int64_t model) {
    for_each_parameter([&](int p, int64_t numbers) { unpack(p, parameters_, models.parameters[p] + model * numbers); });
  }
  void store_gradients(Scalar* const* gradients, int64_t model) {
    for_each_parameter([&](int p, int64_t numbers) { unpack(p, gradients_, gradients[p] + model * numbers); });
  }
  void load_slots(const Optimizer& optimizer, int64_t model) {
    for (int slot = 0; slot < optimizer.slot_count; slot++) {
      if (!slots_[slot]) slots_[slot] = arena_.take<Scalar>(parameter_total_);
      for_each_parameter([&](int p, int64_t numbers) {
        pack(p, optimizer.slots[slot * net_.parameter_count + p] + model * numbers, slots_[slot]);
      });
    }
  }
  void store_slots(const Optimizer& optimizer, int64_t model) {
    for (int slot = 0; slot < optimizer.slot_count; slot++)
      for_each_parameter([&](int p, int64_t numbers) {
        unpack(p, slots_[slot], optimizer.slots[slot * net_.parameter_count + p] + model * numbers);
      });
  }

  // ------------------------------------------------------------------------------------- examples and labels

  // Examples [first, first + count) of a model into the tiles; count is at most what the tiles hold.
  void load_examples(const Examples& from, int64_t model, int64_t first, int64_t count, bool with_labels) {
    if (count != batch_) set_batch(count);
    const Layer& layer = layers_[0];
    int64_t channels = layer.in_channels, pixels = int64_t(layer.in_height) * layer.in_width;
    const Scalar* x = from.x + model * from.x_model;
    for (int64_t tile = 0; tile < tiles_; tile++) {
      int64_t here = std::min<int64_t>(TILE, count - tile * TILE);
      const Scalar* rows[TILE];
      for (int64_t lane = 0; lane < here; lane++) {
        int64_t n = first + tile * TILE + lane;
        int64_t index = from.indices ? from.indices[model * from.indices_row + n] : n;
        rows[lane] = x + index * from.x_example;
        if (with_labels) labels_[tile * TILE + lane] = Integer(from.y[model * from.y_model + index]);
      }
      Scalar* out = input_ + tile * pixels * channels * TILE;
      for (int64_t channel = 0; channel < channels; channel++)
        for (int64_t pixel = 0; pixel < pixels; pixel++) {
          Scalar* row = out + (pixel * channels + channel) * TILE;
          for (int64_t lane = 0; lane < here; lane++) row[lane] = rows[lane][channel * pixels + pixel];
          for (int64_t lane = here; lane < TILE; lane++) row[lane] = 0;
        }
    }
  }

  // ------------------------------------------------------------------------------------------ forward, backward

  // In training, batch norms take their statistics from the batch, and running ones follow unless told otherwise.
  void forward(bool training, bool update_statistics = true) {
    for (size_t i = 0; i < layers_.size(); i++) {
      const Scalar* in = input_of(i);
      switch (layers_[i].kind) {
        case CONTRACTION:
          contract(i, in);
          break;
        case NORM:
          if (layers_[i].groups)
            normalise_examples(i, in);
          else if (training)
            normalise_batch(i, in, update_statistics);
          else
            normalise_by_running(i, in);
          break;
        case ACTIVATION:
          activate(i);
          break;
        case POOL:
          pool(i, in);
          break;
      }
    }
  }

  // The gradients of all parameters, from that of the output, which stands in `output_gradient()`.
  void backward() {
    std::fill(gradients_, gradients_ + parameter_total_, Scalar(0));
    for (size_t i = layers_.size(); i-- > 0;) {
      switch (layers_[i].kind) {
        case CONTRACTION:
          weight_gradient(i, input_of(i));
          if (i > 0) {
            input_gradient(i);
            std::swap(gradient_, other_gradient_);
          }
          break;
        case NORM:
          if (layers_[i].groups)
            normalise_examples_gradient(i);
          else
            normalise_batch_gradient(i);
          break;
        case ACTIVATION:
          activate_gradient(i);
          break;
        case POOL:
          if (i > 0) {  // the gradient of examples has no use, and no memory
            pool_gradient(i);
            std::swap(gradient_, other_gradient_);
          }
          break;
      }
    }
  }

  Scalar* output_gradient() {
    gradient_ = gradient_memory_[0], other_gradient_ = gradient_memory_[1];
    return gradient_;
  }
  const Scalar* output() const { return state_.back().out; }
  int64_t classes() const { return layers_.back().channels; }

  // The mean cross-entropy of the batch; its gradient goes to where backward() takes it from.
  Scalar cross_entropy() {
    const int64_t classes = this->classes();
    Scalar* gradient = output_gradient();
    Vector total = {};
    const Scalar share = Scalar(1) / Scalar(batch_);
    for (int64_t tile = 0; tile < tiles_; tile++)
      for (int v = 0; v < NV; v++) {
        Scalar* g = gradient + tile * classes * TILE + v * LANES;
        const Softmax softmax = softmax_of(tile, v, [&](int64_t k, Vector power) { store(g + k * TILE, power); });
        const Vector inverse = Scalar(1) / softmax.sum;
        for (int64_t k = 0; k < classes; k++) {
          Vector p = load(g + k * TILE) * inverse;
          store(g + k * TILE, keep((softmax.label == Integer(k) ? p - Scalar(1) : p) * share, lanes(tile, v)));
        }
        total += softmax.loss;
      }
    return lane_sum(total) * share;
  }

  // Adds the losses and the right answers of the batch to sums.
  void score(double* loss, int64_t* correct) {
    double losses[LANES] = {};
    Mask right = {};
    for (int64_t tile = 0; tile < tiles_; tile++)
      for (int v = 0; v < NV; v++) {
        const Softmax softmax = softmax_of(tile, v, [](int64_t, Vector) {});
        for (int lane = 0; lane < LANES; lane++) losses[lane] += double(softmax.loss[lane]);
        right -= (softmax.label == softmax.best) & lanes(tile, v);
      }
    for (int lane = 0; lane < LANES; lane++) *loss += losses[lane], *correct += right[lane];
  }

  // ----------------------------------------------------------------------------------------------- the update

  void update(const Optimizer& rule, int64_t models, int64_t model, int64_t step) {
    const Scalar lr = Scalar(rule.lr[model]) * Scalar(rule.factors[step]);
    Scalar clip = 1;
    if (rule.max_grad_norm && !std::isinf(rule.max_grad_norm[model])) {
      Scalar limit = Scalar(rule.max_grad_norm[model]) / (gradient_norm() + Scalar(rule.clip_eps));
      clip = limit >= 1 ? Scalar(1) : limit;
    }
    for (int p = 0; p < net_.parameter_count; p++) {
      const double* decays = net_.parameter_is_norm[p] ? rule.norm_weight_decay : rule.weight_decay;
      const Scalar decay = Scalar(decays[model]);
      int64_t start = offsets_[p], count = offsets_[p + 1] - start;
      Scalar* __restrict weight = parameters_ + start;
      const Scalar* __restrict gradient = gradients_ + start;
      if (rule.rule == ADAMW || rule.rule == ADAM) {
        Scalar* __restrict mean = slots_[0] + start;
        Scalar* __restrict square = slots_[1] + start;
        const double* corrections = rule.corrections + 2 * (step * models + model);
        const Scalar rate = lr / Scalar(corrections[0]), root = Scalar(corrections[1]), eps = Scalar(rule.eps[model]);
        const Scalar rest1 = Scalar(rule.rest1[model]), beta2 = Scalar(rule.beta2[model]);
        const Scalar rest2 = Scalar(rule.rest2[model]);
        const bool is_coupled = rule.rule == ADAM;
        const Scalar shrink = is_coupled ? Scalar(1) : 1 - lr * decay;
        for (int64_t i = 0; i < count; i++) {
          Scalar g = gradient[i] * clip;
          if (is_coupled) g += decay * weight[i];
          mean[i] += rest1 * (g - mean[i]);
          square[i] = beta2 * square[i] + rest2 * g * g;
          weight[i] = weight[i] * shrink - rate * mean[i] / (std::sqrt(square[i]) / root + eps);
        }
      } else if (rule.slot_count) {
        Scalar* __restrict velocity = slots_[0] + start;
        const Scalar momentum = Scalar(rule.momentum[model]);
        for (int64_t i = 0; i < count; i++) {
          Scalar g = gradient[i] * clip + decay * weight[i];
          velocity[i] = momentum * velocity[i] + g;
          weight[i] -= lr * (rule.nesterov ? g + momentum * velocity[i] : velocity[i]);
        }
      } else {
        for (int64_t i = 0; i < count; i++) weight[i] -= lr * (gradient[i] * clip + decay * weight[i]);
      }
    }
  }

 private:
  struct LayerState {
    Scalar* out = nullptr;
    Scalar* normalised = nullptr;      // of a norm: its input, centred and scaled
    Scalar* inverse = nullptr;         // one over the deviation: [channel], or [tile][group][TILE]
    Integer* winners = nullptr;        // of a pool: which number of its window
    int64_t size = 0, out_pixels = 0;  // numbers of a tile's output
    bool in_place = false;
  };

  struct Softmax {
    Vector sum, loss;  // of exp(output - largest); cross-entropies, zero where there is no example
    Mask label, best;  // the right class, and the first of those with the largest output
  };
  // Of the examples in one vector of the output; calls function(class, exp(output - largest)) for every class.
  template <class F>
  Softmax softmax_of(int64_t tile, int v, F function) const {
    const int64_t classes = this->classes();
    const Scalar* z = output() + tile * classes * TILE + v * LANES;
    const Mask label = reinterpret_cast<const Mask&>(labels_[tile * TILE + v * LANES]);
    Vector largest = load(z), sum = {}, right = {};
    Mask best = {};
    for (int64_t k = 1; k < classes; k++) {
      Vector x = load(z + k * TILE);
      Mask wins = (x > largest) | (x != x);
      largest = wins ? x : largest;
      best = wins ? Mask{} + Integer(k) : best;
    }
    for (int64_t k = 0; k < classes; k++) {
      Vector x = load(z + k * TILE) - largest, power = exponential(x);
      right = label == Integer(k) ? x : right;
      sum += power;
      function(k, power);
    }
    return {sum, keep(logarithm(sum) - right, lanes(tile, v)), label, best};
  }

  const Network& net_;
  std::vector<Layer> layers_;
  std::vector<LayerState> state_;
  Arena arena_;
  int64_t batch_ = 0, tiles_ = 0, parameter_total_ = 0, model_ = 0;
  std::vector<int64_t> offsets_;
  std::vector<const Layer*> contraction_of_;  // by parameter: the contraction whose weight it is, or null
  Scalar *parameters_ = nullptr, *gradients_ = nullptr, *slots_[2] = {nullptr, nullptr};
  Scalar *input_ = nullptr, *gradient_memory_[2] = {nullptr, nullptr};
  Scalar *gradient_ = nullptr, *other_gradient_ = nullptr;  // of a layer's output and input; they change places
  Scalar* scratch_ = nullptr;
  Integer* labels_ = nullptr;
  void* const* buffers_ = nullptr;
  int64_t ragged_tile_ = -1;  // the tile that has lanes without an example; -1: none
  Mask lanes_[2][NV];         // those with an example: in other tiles, in that one

  void set_batch(int64_t batch) {
    batch_ = batch;
    tiles_ = (batch + TILE - 1) / TILE;
    ragged_tile_ = batch % TILE ? tiles_ - 1 : -1;
    for (int v = 0; v < NV; v++)
      for (int lane = 0; lane < LANES; lane++)
        lanes_[1][v][lane] = (tiles_ - 1) * TILE + v * LANES + lane < batch ? Integer(-1) : Integer(0);
  }
  bool is_ragged(int64_t tile) const { return tile == ragged_tile_; }
  const Mask& lanes(int64_t tile, int v) const { return lanes_[is_ragged(tile)][v]; }

  const Scalar* input_of(size_t i) const { return i ? state_[i - 1].out : input_; }
  const Scalar* parameter(int32_t number) const { return number < 0 ? nullptr : parameters_ + offsets_[number]; }
  Scalar* gradient_of(int32_t number) { return number < 0 ? nullptr : gradients_ + offsets_[number]; }
  template <class T>
  T* buffer(int32_t number, int64_t size) const {
    return static_cast<T*>(buffers_[number]) + model_ * size;
  }
  static int64_t columns(const Layer& layer) { return whole_vectors(layer.channels); }

  void place_parameters() {
    contraction_of_.assign(net_.parameter_count, nullptr);
    for (const Layer& layer : layers_)
      if (layer.kind == CONTRACTION) contraction_of_[layer.weight] = &layer;
    offsets_.push_back(0);
    for (int p = 0; p < net_.parameter_count; p++) {
      const Layer* layer = contraction_of_[p];
      int64_t size = whole_vectors(net_.parameter_sizes[p]);
      if (layer) size = net_.parameter_sizes[p] / layer->channels * columns(*layer);
      offsets_.push_back(offsets_.back() + size);
    }
    parameter_total_ = offsets_.back();
    parameters_ = arena_.take<Scalar>(parameter_total_);
    gradients_ = arena_.take<Scalar>(parameter_total_);
  }

  // An activation overwrites its input, a norm makes its normalised input of it, where no other layer needs that.
  void place_activations() {
    const Layer& first = layers_[0];
    int64_t pixels = int64_t(first.in_height) * first.in_width, widest = 0, most_channels = 0;
    input_ = arena_.take<Scalar>(tiles_ * pixels * first.in_channels * TILE);
    labels_ = arena_.take<Integer>(tiles_ * TILE);
    for (size_t i = 0; i < layers_.size(); i++) {
      const Layer& layer = layers_[i];
      LayerState& state = state_[i];
      bool after_contraction = i && layers_[i - 1].kind == CONTRACTION, after_norm = i && layers_[i - 1].kind == NORM;
      state.out_pixels = int64_t(layer.height) * layer.width;
      state.size = state.out_pixels * layer.channels * TILE;
      state.in_place = layer.kind == ACTIVATION && (after_contraction || after_norm);
      state.out = state.in_place ? state_[i - 1].out : arena_.take<Scalar>(tiles_ * state.size);
      if (layer.kind == NORM) {
        state.normalised = after_contraction ? state_[i - 1].out : arena_.take<Scalar>(tiles_ * state.size);
        state.inverse = arena_.take<Scalar>(layer.groups ? tiles_ * layer.groups * TILE : columns(layer));
      }
      if (layer.kind == POOL) state.winners = arena_.take<Integer>(tiles_ * state.size);
      widest = std::max(widest, state.size);
      most_channels = std::max(most_channels, columns(layer));
    }
    for (Scalar*& memory : gradient_memory_) memory = arena_.take<Scalar>(tiles_ * widest);
    scratch_ = arena_.take<Scalar>(most_channels * TILE);
  }

  template <class F>
  void for_each_parameter(F function) {
    for (int p = 0; p < net_.parameter_count; p++) function(p, net_.parameter_sizes[p]);
  }
  // A contraction's weight [output channel][input channel][tap] becomes [tap][input channel][output channel, padded].
  void pack(int p, const Scalar* from, Scalar* memory) {
    Scalar* to = memory + offsets_[p];
    if (contraction_of_[p])
      for_each_weight(p, [&](int64_t plain, int64_t packed) { to[packed] = from[plain]; });
    else
      std::copy(from, from + net_.parameter_sizes[p], to);
  }
  void unpack(int p, const Scalar* memory, Scalar* to) {
    const Scalar* from = memory + offsets_[p];
    if (contraction_of_[p])
      for_each_weight(p, [&](int64_t plain, int64_t packed) { to[plain] = from[packed]; });
    else
      std::copy(from, from + net_.parameter_sizes[p], to);
  }
  // Calls function(where a weight is in torch's order, where it is here), block by block, as caches like it.
  template <class F>
  void for_each_weight(int p, F function) {
    constexpr int64_t BLOCK = 16;
    const Layer& layer = *contraction_of_[p];
    const int64_t taps = int64_t(layer.kernel_height) * layer.kernel_width, row = columns(layer);
    const int64_t inputs = layer.in_channels * taps;  // of torch's order: [input channel][tap]
    for (int64_t o = 0; o < layer.channels; o += BLOCK)
      for (int64_t i = 0; i < inputs; i += BLOCK)
        for (int64_t at = i; at < std::min(i + BLOCK, inputs); at++) {
          const int64_t start = (at % taps * layer.in_channels + at / taps) * row;
          for (int64_t column = o; column < std::min<int64_t>(o + BLOCK, layer.channels); column++)
            function(column * inputs + at, start + column);
        }
  }
  Scalar gradient_norm() const {
    Vector sum = {};
    for (int64_t i = 0; i < parameter_total_; i += LANES) {
      Vector g = load(gradients_ + i);
      sum += g * g;
    }
    return std::sqrt(lane_sum(sum));
  }

  // ---------------------------------------------------------------------- contractions: linear and convolution

  struct Range {
    int64_t first, stop;
  };
  // Which taps of a kernel meet the input, where the window starts at `start` of `size` pixels.
  static Range taps_inside(int64_t start, int64_t kernel, int64_t size) {
    return {std::max<int64_t>(0, -start), std::min(kernel, size - start)};
  }

  // out[o] = bias[o] + sum over taps and input channels of weight times input
  void contract(size_t i, const Scalar* in) {
    const Layer& layer = layers_[i];
    const Scalar *weight = parameter(layer.weight), *bias = parameter(layer.bias);
    const int64_t row = columns(layer), channels = layer.in_channels;
    const int64_t in_size = int64_t(layer.in_height) * layer.in_width * channels * TILE;
    for (int64_t tile = 0; tile < tiles_; tile++)
      for (int64_t y = 0; y < layer.height; y++)
        for (int64_t x = 0; x < layer.width; x++) {
          const int64_t top = y - layer.pad_height, left = x - layer.pad_width;
          const Range ys = taps_inside(top, layer.kernel_height, layer.in_height);
          const Range xs = taps_inside(left, layer.kernel_width, layer.in_width);
          Scalar* out = state_[i].out + tile * state_[i].size + (y * layer.width + x) * layer.channels * TILE;
          in_blocks(0, layer.channels, [&](auto rows, int64_t o) {
            constexpr int R = decltype(rows)::value;
            Vector sums[R][NV];
            for (int r = 0; r < R; r++)
              for (int v = 0; v < NV; v++) sums[r][v] = fill(bias ? bias[o + r] : Scalar(0));
            for (int64_t ky = ys.first; ky < ys.stop; ky++) {  // taps of a row of pixels lie side by side
              const Scalar* w = weight + (ky * layer.kernel_width + xs.first) * channels * row + o;
              const Scalar* pixels =
                  in + tile * in_size + ((top + ky) * layer.in_width + left + xs.first) * channels * TILE;
              multiply_add(sums, w, 1, row, pixels, TILE, (xs.stop - xs.first) * channels);
            }
            if (is_ragged(tile))
              for (int r = 0; r < R; r++)
                for (int v = 0; v < NV; v++) sums[r][v] = keep(sums[r][v], lanes(tile, v));
            for (int r = 0; r < R; r++)
              for (int v = 0; v < NV; v++) store(out + (o + r) * TILE + v * LANES, sums[r][v]);
          });
        }
  }

  // gradient of input i = sum over taps and output channels of weight times gradient of the output
  void input_gradient(size_t i) {
    const Layer& layer = layers_[i];
    const Scalar* weight = parameter(layer.weight);
    const int64_t row = columns(layer), channels = layer.in_channels;
    for (int64_t tile = 0; tile < tiles_; tile++)
      for (int64_t y = 0; y < layer.in_height; y++)
        for (int64_t x = 0; x < layer.in_width; x++) {
          Scalar* out = other_gradient_ + ((tile * layer.in_height + y) * layer.in_width + x) * channels * TILE;
          const int64_t top = y + layer.pad_height, left = x + layer.pad_width;  // the output that tap 0 belongs to
          const Range ys = {std::max<int64_t>(0, top - layer.height + 1),
                            std::min<int64_t>(layer.kernel_height, top + 1)};
          const Range xs = {std::max<int64_t>(0, left - layer.width + 1),
                            std::min<int64_t>(layer.kernel_width, left + 1)};
          in_blocks(0, channels, [&](auto rows, int64_t c) {
            constexpr int R = decltype(rows)::value;
            Vector sums[R][NV] = {};
            for (int64_t ky = ys.first; ky < ys.stop; ky++)
              for (int64_t kx = xs.first; kx < xs.stop; kx++) {
                const Scalar* w = weight + ((ky * layer.kernel_width + kx) * channels + c) * row;
                const Scalar* g =
                    gradient_ + tile * state_[i].size + ((top - ky) * layer.width + left - kx) * layer.channels * TILE;
                multiply_add(sums, w, row, 1, g, TILE, layer.channels);
              }
            for (int r = 0; r < R; r++)
              for (int v = 0; v < NV; v++) store(out + (c + r) * TILE + v * LANES, sums[r][v]);
          });
        }
  }

  // gradient of weight [tap][c][o] = sum over examples and pixels of input times gradient of the output
  void weight_gradient(size_t i, const Scalar* in) {
    const Layer& layer = layers_[i];
    if (layer.bias >= 0 && !layer.is_norm_free_bias) gradient_sums(i, gradient_of(layer.bias));
    const bool is_linear = state_[i].out_pixels == 1 && layer.kernel_height == layer.in_height &&
                           layer.kernel_width == layer.in_width && !layer.pad_height && !layer.pad_width;
    if (is_linear && layer.channels >= LANES / 2 && layer.in_channels >= DOT_ROWS)
      linear_weight_gradient(i, in);
    else
      dot_weight_gradient(i, in);
  }

  // With the gradient transposed, [example][o]: a sum over examples then is the same kernel as a contraction.
  void linear_weight_gradient(size_t i, const Scalar* in) {
    const Layer& layer = layers_[i];
    const int64_t row = columns(layer), inputs = int64_t(layer.in_height) * layer.in_width * layer.in_channels;
    Scalar* weight = gradient_of(layer.weight);
    for (int64_t tile = 0; tile < tiles_; tile++) {
      const Scalar* gradient = gradient_ + tile * state_[i].size;
      for (int64_t o = 0; o < row; o += LANES)
        for (int v = 0; v < NV; v++) {
          Vector block[LANES];
          for (int j = 0; j < LANES; j++)
            block[j] = o + j < layer.channels ? load(gradient + (o + j) * TILE + v * LANES) : Vector{};
          transpose(block);
          for (int j = 0; j < LANES; j++) store(scratch_ + (v * LANES + j) * row + o, block[j]);
        }
      const Scalar* rows_in = in + tile * inputs * TILE;
      auto columns_from = [&](auto vectors, int64_t o) {
        constexpr int V = decltype(vectors)::value;
        in_blocks(0, inputs, [&](auto rows, int64_t c) {
          constexpr int R = decltype(rows)::value;
          Vector sums[R][V];
          for (int r = 0; r < R; r++)
            for (int v = 0; v < V; v++) sums[r][v] = load(weight + (c + r) * row + o + v * LANES);
          multiply_add(sums, rows_in + c * TILE, TILE, 1, scratch_ + o, row, TILE);
          for (int r = 0; r < R; r++)
            for (int v = 0; v < V; v++) store(weight + (c + r) * row + o + v * LANES, sums[r][v]);
        });
      };
      int64_t o = 0;
      for (; o + 2 * LANES <= row; o += 2 * LANES) columns_from(Size<2>(), o);
      if (o < row) columns_from(Size<1>(), o);
    }
  }

  // Dot products along the lanes, over all pixels that a tap meets; lanes are added at the end.
  void dot_weight_gradient(size_t i, const Scalar* in) {
    const Layer& layer = layers_[i];
    for (int64_t ky = 0; ky < layer.kernel_height; ky++) {
      const int64_t whole = layer.in_channels / DOT_ROWS * DOT_ROWS;
      for (int64_t kx = 0; kx < layer.kernel_width; kx++)
        for (int64_t c = 0; c < whole; c += DOT_ROWS)
          for (int64_t o = 0; o < layer.channels; o += DOT_COLUMNS)
            dot_products<DOT_ROWS, DOT_COLUMNS, false>(i, in, ky, kx, c, o);
      for (int64_t c = whole; c < layer.in_channels; c++) {  // few channels: taps side by side instead
        int64_t kx = 0;
        for (; kx + DOT_TAPS <= layer.kernel_width; kx += DOT_TAPS)
          for (int64_t o = 0; o < layer.channels; o += DOT_COLUMNS)
            dot_products<DOT_TAPS, DOT_COLUMNS, true>(i, in, ky, kx, c, o);
        for (; kx < layer.kernel_width; kx++)
          for (int64_t o = 0; o < layer.channels; o += DOT_LINE) dot_products<1, DOT_LINE, true>(i, in, ky, kx, c, o);
      }
    }
  }

  // The gradients of R x C weights: R input channels, or R taps, from (ky, kx, c) on, and C output channels from o on.
  template <int R, int C, bool ALONG_TAPS>
  void dot_products(size_t i, const Scalar* in, int64_t ky, int64_t kx, int64_t c, int64_t o) {
    const Layer& layer = layers_[i];
    const int64_t channels = layer.in_channels, row = columns(layer), step = ALONG_TAPS ? channels * TILE : TILE;
    const int64_t in_size = int64_t(layer.in_height) * layer.in_width * channels * TILE;
    const int64_t top = ky - layer.pad_height, left = kx - layer.pad_width, taps = ALONG_TAPS ? R : 1;
    const Range ys = taps_inside(top, layer.height, layer.in_height);
    const Range any = {std::max<int64_t>(0, 1 - left - taps), std::min<int64_t>(layer.width, layer.in_width - left)};
    const Range all = {std::max<int64_t>(0, -left), std::min<int64_t>(layer.width, layer.in_width - left - taps + 1)};
    int64_t column[C];  // where there are fewer channels, the last one stands in for those that are missing
    for (int k = 0; k < C; k++) column[k] = std::min<int64_t>(o + k, layer.channels - 1) * TILE;
    Vector sums[R][C] = {};
    for (int64_t tile = 0; tile < tiles_; tile++)
      for (int64_t y = ys.first; y < ys.stop; y++) {
        const Scalar* g_row = gradient_ + tile * state_[i].size + y * layer.width * layer.channels * TILE;
        const Scalar* x_row = in + tile * in_size + (((y + top) * layer.in_width + left) * channels + c) * TILE;
        auto add = [&](int64_t pixel, auto is_inside) {
          const Scalar *g = g_row + pixel * layer.channels * TILE, *x = x_row + pixel * channels * TILE;
          for (int v = 0; v < NV; v++) {
            Vector gradients[C];
            for (int k = 0; k < C; k++) gradients[k] = load(g + column[k] + v * LANES);
            for (int r = 0; r < R; r++) {
              if (!is_inside(r)) continue;
              Vector input = load(x + r * step + v * LANES);
              for (int k = 0; k < C; k++) sums[r][k] += input * gradients[k];
            }
          }
        };
        for (int64_t pixel = all.first; pixel < all.stop; pixel++) add(pixel, [](int) { return true; });
        if constexpr (ALONG_TAPS && R > 1)  // at the sides of the image, where some of the taps are outside
          for (int64_t pixel = any.first; pixel < any.stop; pixel++)
            if (pixel < all.first || pixel >= all.stop)
              add(pixel, [&](int r) { return left + pixel + r >= 0 && left + pixel + r < layer.in_width; });
      }
    constexpr int ALL = (R * C + LANES - 1) / LANES * LANES;
    Vector padded[ALL] = {};
    for (int r = 0; r < R; r++)
      for (int k = 0; k < C; k++) padded[r * C + k] = sums[r][k];
    alignas(VECTOR_BYTES) Scalar totals[ALL];
    for (int j = 0; j < ALL; j += LANES) store(totals + j, lane_sums(padded + j));
    Scalar* weight = gradient_of(layer.weight) + ((ky * layer.kernel_width + kx) * channels + c) * row + o;
    for (int r = 0; r < R; r++)
      for (int k = 0; k < C && o + k < layer.channels; k++)
        weight[r * (ALONG_TAPS ? channels : 1) * row + k] = totals[r * C + k];
  }

  // sums[c] = sum over examples and pixels of term(offset, channel, tile, v); `sums` has room for whole vectors.
  template <class F>
  void channel_sums(size_t i, Scalar* sums, F term) {
    const int64_t channels = layers_[i].channels, pixels = state_[i].out_pixels;
    for (int64_t c = 0; c < channels; c += LANES) {
      Vector partial[LANES] = {};
      for (int64_t j = 0; j < std::min<int64_t>(LANES, channels - c); j++) {
        Vector sum[NV] = {};
        for (int64_t tile = 0; tile < tiles_; tile++)
          for (int64_t pixel = 0; pixel < pixels; pixel++)
            for (int v = 0; v < NV; v++)
              sum[v] += term(((tile * pixels + pixel) * channels + c + j) * TILE + v * LANES, c + j, tile, v);
        for (int v = 0; v < NV; v++) partial[j] += sum[v];
      }
      store(sums + c, lane_sums(partial));
    }
  }
  void gradient_sums(size_t i, Scalar* sums) {
    channel_sums(i, sums, [&](int64_t at, int64_t, int64_t, int) { return load(gradient_ + at); });
  }
  void projections(size_t i, Scalar* sums) {  // of the gradient on what a norm has normalised
    const Scalar* normalised = state_[i].normalised;
    channel_sums(i, sums,
                 [&](int64_t at, int64_t, int64_t, int) { return load(gradient_ + at) * load(normalised + at); });
  }

  // ---------------------------------------------------------------------------------------------------- norms

  // Calls function(offset of the row, channel, tile) for every row of TILE numbers.
  template <class F>
  void for_each_row(size_t i, F function) {
    const int64_t channels = layers_[i].channels;
    for (int64_t tile = 0; tile < tiles_; tile++)
      for (int64_t pixel = 0; pixel < state_[i].out_pixels; pixel++)
        for (int64_t c = 0; c < channels; c++)
          function(((tile * state_[i].out_pixels + pixel) * channels + c) * TILE, c, tile);
  }

  // Ioffe & Szegedy 2015, algorithm 1.
  void normalise_batch(size_t i, const Scalar* in, bool update_statistics) {
    const Layer& layer = layers_[i];
    LayerState& state = state_[i];
    const int64_t channels = layer.channels;
    const Scalar count = Scalar(batch_ * state.out_pixels);
    Scalar *mean = scratch_, *variance = scratch_ + columns(layer);
    channel_sums(i, mean,
                 [&](int64_t at, int64_t, int64_t tile, int v) { return keep(load(in + at), lanes(tile, v)); });
    for (int64_t c = 0; c < channels; c++) mean[c] /= count;
    channel_sums(i, variance, [&](int64_t at, int64_t c, int64_t tile, int v) {
      Vector centred = keep(load(in + at) - mean[c], lanes(tile, v));
      return centred * centred;
    });
    for (int64_t c = 0; c < channels; c++) state.inverse[c] = inverse_root(variance[c] / count + Scalar(layer.eps));
    const Scalar *weight = parameter(layer.weight), *bias = parameter(layer.bias);
    for_each_row(i, [&](int64_t at, int64_t c, int64_t tile) {
      const Scalar centre = mean[c], inverse = state.inverse[c];
      const Scalar scale = weight ? weight[c] : Scalar(1), shift = bias ? bias[c] : Scalar(0);
      for (int v = 0; v < NV; v++) {
        Vector normalised = keep((load(in + at + v * LANES) - centre) * inverse, lanes(tile, v));
        store(state.normalised + at + v * LANES, normalised);
        store(state.out + at + v * LANES, normalised * scale + shift);
      }
    });
    if (layer.mean < 0 || !update_statistics) return;
    Scalar share = Scalar(layer.momentum);
    int64_t* batches = buffer<int64_t>(layer.batches, 1);
    *batches += 1;
    if (layer.momentum < 0) share = Scalar(1) / Scalar(*batches);
    Scalar *running_mean = buffer<Scalar>(layer.mean, channels),
           *running_variance = buffer<Scalar>(layer.variance, channels);
    for (int64_t c = 0; c < channels; c++) {
      running_mean[c] += share * (mean[c] - running_mean[c]);
      running_variance[c] += share * (variance[c] / (count - 1) - running_variance[c]);
    }
  }

  // The gradient of the input is that of the output less its parts along the constant and along the output.
  void normalise_batch_gradient(size_t i) {
    const Layer& layer = layers_[i];
    const LayerState& state = state_[i];
    const Scalar share = Scalar(1) / Scalar(batch_ * state.out_pixels);
    Scalar *total = scratch_, *projection = scratch_ + columns(layer);
    gradient_sums(i, total);
    projections(i, projection);
    if (layer.weight >= 0) std::copy(projection, projection + layer.channels, gradient_of(layer.weight));
    if (layer.bias >= 0) std::copy(total, total + layer.channels, gradient_of(layer.bias));
    const Scalar* weight = parameter(layer.weight);
    for_each_row(i, [&](int64_t at, int64_t c, int64_t tile) {
      const Scalar factor = state.inverse[c] * (weight ? weight[c] : Scalar(1));
      const Scalar constant = total[c] * share, slope = projection[c] * share;
      for (int v = 0; v < NV; v++) {
        Vector g = load(gradient_ + at + v * LANES) - constant - load(state.normalised + at + v * LANES) * slope;
        store(gradient_ + at + v * LANES, keep(g * factor, lanes(tile, v)));
      }
    });
  }

  void normalise_by_running(size_t i, const Scalar* in) {
    const Layer& layer = layers_[i];
    const Scalar *weight = parameter(layer.weight), *bias = parameter(layer.bias);
    const Scalar* mean = buffer<Scalar>(layer.mean, layer.channels);
    const Scalar* variance = buffer<Scalar>(layer.variance, layer.channels);
    for (int64_t c = 0; c < layer.channels; c++)
      scratch_[c] = inverse_root(variance[c] + Scalar(layer.eps)) * (weight ? weight[c] : Scalar(1));
    for_each_row(i, [&](int64_t at, int64_t c, int64_t) {
      const Scalar shift = bias ? bias[c] : Scalar(0);
      for (int v = 0; v < NV; v++)
        store(state_[i].out + at + v * LANES, (load(in + at + v * LANES) - mean[c]) * scratch_[c] + shift);
    });
  }

  // Calls function(tile, group, offset of the group's first row in its tile's first pixel) for every group of channels.
  template <class F>
  void for_each_group(size_t i, F function) {
    const Layer& layer = layers_[i];
    for (int64_t tile = 0; tile < tiles_; tile++)
      for (int64_t group = 0; group < layer.groups; group++)
        for (int v = 0; v < NV; v++)
          function(tile * state_[i].size + group * (layer.channels / layer.groups) * TILE + v * LANES,
                   (tile * layer.groups + group) * TILE + v * LANES, group * (layer.channels / layer.groups),
                   lanes(tile, v));
  }
  // Calls function(offset from the group's first row, channel from the group's first) for all rows of a group.
  template <class F>
  void for_each_row_of_group(size_t i, F function) {
    const Layer& layer = layers_[i];
    for (int64_t pixel = 0; pixel < state_[i].out_pixels; pixel++)
      for (int64_t c = 0; c < layer.channels / layer.groups; c++) function((pixel * layer.channels + c) * TILE, c);
  }

  // Wu & He 2018; layer norm (Ba et al. 2016) is one group, instance norm (Ulyanov et al. 2016) a group per channel,
  // and RMS norm (Zhang & Sennrich 2019) is not centred.
  void normalise_examples(size_t i, const Scalar* in) {
    const Layer& layer = layers_[i];
    LayerState& state = state_[i];
    const Scalar share = Scalar(1) / Scalar(state.out_pixels * (layer.channels / layer.groups));
    const Scalar *weight = parameter(layer.weight), *bias = parameter(layer.bias);
    for_each_group(i, [&](int64_t start, int64_t statistic, int64_t first, Mask valid) {
      Vector mean = {}, variance = {};
      if (layer.centred) for_each_row_of_group(i, [&](int64_t at, int64_t) { mean += load(in + start + at); });
      mean *= share;
      for_each_row_of_group(i, [&](int64_t at, int64_t) {
        Vector centred = load(in + start + at) - mean;
        variance += centred * centred;
        store(state.normalised + start + at, centred);
      });
      Vector inverse = each_lane(variance * share + Scalar(layer.eps), inverse_root);
      store(state.inverse + statistic, inverse);
      for_each_row_of_group(i, [&](int64_t at, int64_t c) {
        Vector normalised = keep(load(state.normalised + start + at) * inverse, valid);
        store(state.normalised + start + at, normalised);
        store(state.out + start + at,
              normalised * (weight ? weight[first + c] : Scalar(1)) + (bias ? bias[first + c] : Scalar(0)));
      });
    });
  }

  void normalise_examples_gradient(size_t i) {
    const Layer& layer = layers_[i];
    const LayerState& state = state_[i];
    if (layer.weight >= 0) projections(i, gradient_of(layer.weight));
    if (layer.bias >= 0) gradient_sums(i, gradient_of(layer.bias));
    const Scalar share = Scalar(1) / Scalar(state.out_pixels * (layer.channels / layer.groups));
    const Scalar* weight = parameter(layer.weight);
    for_each_group(i, [&](int64_t start, int64_t statistic, int64_t first, Mask valid) {
      Vector total = {}, projection = {};
      for_each_row_of_group(i, [&](int64_t at, int64_t c) {
        Vector g = load(gradient_ + start + at) * (weight ? weight[first + c] : Scalar(1));
        total += g;
        projection += g * load(state.normalised + start + at);
      });
      total *= layer.centred ? share : Scalar(0);
      projection *= share;
      Vector inverse = load(state.inverse + statistic);
      for_each_row_of_group(i, [&](int64_t at, int64_t c) {
        Vector g = load(gradient_ + start + at) * (weight ? weight[first + c] : Scalar(1));
        g = (g - total - load(state.normalised + start + at) * projection) * inverse;
        store(gradient_ + start + at, keep(g, valid));
      });
    });
  }

  // ------------------------------------------------------------------------------------- activations and pools

  template <class F>
  void for_each_vector(size_t i, F function) {
    for (int64_t at = 0; at < tiles_ * state_[i].size; at += LANES) function(at);
  }
  void activate(size_t i) {
    const Scalar* in = input_of(i);
    Scalar* out = state_[i].out;
    switch (layers_[i].function) {
      case RELU:  // NaN stays NaN, as in torch
        for_each_vector(i, [&](int64_t at) {
          Vector x = load(in + at);
          store(out + at, x <= Scalar(0) ? Vector{} : x);
        });
        break;
      case TANH:
        for_each_vector(i, [&](int64_t at) { store(out + at, hyperbolic_tangent(load(in + at))); });
        break;
      case SIGMOID:
        for_each_vector(i, [&](int64_t at) { store(out + at, Scalar(1) / (Scalar(1) + exponential(-load(in + at)))); });
        break;
    }
  }
  void activate_gradient(size_t i) {
    const Scalar* out = state_[i].out;
    Scalar* g = gradient_;
    switch (layers_[i].function) {
      case RELU:
        for_each_vector(i, [&](int64_t at) { store(g + at, load(out + at) <= Scalar(0) ? Vector{} : load(g + at)); });
        break;
      case TANH:
        for_each_vector(i, [&](int64_t at) {
          Vector y = load(out + at);
          store(g + at, load(g + at) * (Scalar(1) - y * y));
        });
        break;
      case SIGMOID:
        for_each_vector(i, [&](int64_t at) {
          Vector y = load(out + at);
          store(g + at, load(g + at) * (Scalar(1) - y) * y);
        });
        break;
    }
  }

  // Calls function(offset of a row of the output, of the first row of its window in the input) for every row.
  template <class F>
  void for_each_window(size_t i, F function) {
    const Layer& layer = layers_[i];
    for (int64_t tile = 0; tile < tiles_; tile++)
      for (int64_t y = 0; y < layer.height; y++)
        for (int64_t x = 0; x < layer.width; x++)
          for (int64_t c = 0; c < layer.channels; c++)
            function((((tile * layer.height + y) * layer.width + x) * layer.channels + c) * TILE,
                     (((tile * layer.in_height + y * layer.kernel_height) * layer.in_width + x * layer.kernel_width) *
                          layer.channels +
                      c) *
                         TILE);
  }
  // The first of equals wins; a NaN wins against all, as in torch.
  void pool(size_t i, const Scalar* in) {
    const Layer& layer = layers_[i];
    LayerState& state = state_[i];
    const int64_t right = layer.channels * TILE, below = layer.in_width * right;
    for_each_window(i, [&](int64_t to, int64_t from) {
      for (int v = 0; v < NV; v++) {
        const Scalar* window = in + from + v * LANES;
        Vector largest = load(window);
        Mask winner = {};
        Integer k = 0;
        for (int64_t y = 0; y < layer.kernel_height; y++)
          for (int64_t x = 0; x < layer.kernel_width; x++, k++) {
            Vector number = load(window + y * below + x * right);
            Mask wins = (number > largest) | (number != number);
            largest = wins ? number : largest;
            winner = wins ? Mask{} + k : winner;
          }
        store(state.out + to + v * LANES, largest);
        *reinterpret_cast<Mask*>(state.winners + to + v * LANES) = winner;
      }
    });
  }
  void pool_gradient(size_t i) {
    const Layer& layer = layers_[i];
    const LayerState& state = state_[i];
    const int64_t right = layer.channels * TILE, below = layer.in_width * right;
    const bool covers_all =
        layer.height * layer.kernel_height == layer.in_height && layer.width * layer.kernel_width == layer.in_width;
    if (!covers_all) std::fill(other_gradient_, other_gradient_ + tiles_ * layer.in_height * below, Scalar(0));
    for_each_window(i, [&](int64_t from, int64_t to) {
      for (int v = 0; v < NV; v++) {
        const Mask winner = *reinterpret_cast<const Mask*>(state.winners + from + v * LANES);
        const Vector g = load(gradient_ + from + v * LANES);
        Scalar* window = other_gradient_ + to + v * LANES;
        Integer k = 0;
        for (int64_t y = 0; y < layer.kernel_height; y++)
          for (int64_t x = 0; x < layer.kernel_width; x++, k++)
            store(window + y * below + x * right, winner == k ? g : Vector{});
      }
    });
  }
};

// Calls function(trainer, model) for every model, on several threads; 1 where memory is missing.
template <class F>
int in_threads(const Network& network, int64_t batch, int64_t models, int64_t threads, F function) {
  threads = std::max<int64_t>(1, std::min(threads, models));
  std::vector<std::thread> others;
  std::vector<int> failed(threads, 0);
  auto part = [&](int64_t number) {
    try {
      int64_t first = models * number / threads, stop = models * (number + 1) / threads;
      Trainer trainer(network, batch);
      for (int64_t model = first; model < stop; model++) function(trainer, model);
    } catch (const std::bad_alloc&) { failed[number] = 1; }
  };
  others.reserve(threads);
  for (int64_t number = 1; number < threads; number++) {
    try {
      others.emplace_back(part, number);
    } catch (const std::system_error&) { part(number); }  // no thread to be had
  }
  part(0);
  for (std::thread& thread : others) thread.join();
  return *std::max_element(failed.begin(), failed.end());
}

}  // namespace

extern "C" {

// What compiled this source: on it depends which products are fused with sums, and so the last bits.
const char* harness_compiler() { return __VERSION__; }

// Trains every model whose losses were finite so far for `steps` batches, one after the other in its examples' order.
// losses: steps x M, NaN for a model that doesn't train any more. `step` counts those before. 1 where memory is
// missing.
int harness_train(const Network* network, const Models* models, const Examples* examples, const Optimizer* optimizer,
                  int64_t batch, int64_t step, int64_t steps, Scalar* losses, int64_t threads) {
  return in_threads(*network, batch, models->count, threads, [&](Trainer& trainer, int64_t model) {
    const bool is_alive = models->fail_steps[model] < 0;
    int64_t done = 0;
    if (is_alive) {
      trainer.load_model(*models, model);
      trainer.load_slots(*optimizer, model);
      for (; done < steps && models->fail_steps[model] < 0; done++) {
        trainer.load_examples(*examples, model, examples->indices ? done * batch : 0, batch, true);
        trainer.forward(true);
        const Scalar loss = losses[done * models->count + model] = trainer.cross_entropy();
        if (!std::isfinite(loss)) models->fail_steps[model] = step + done + 1;
        trainer.backward();
        trainer.update(*optimizer, models->count, model, done);
      }
      trainer.store_model(*models, model);
      trainer.store_slots(*optimizer, model);
    }
    for (; done < steps; done++) losses[done * models->count + model] = std::numeric_limits<Scalar>::quiet_NaN();
  });
}

// Adds the losses and right answers of `count` examples to sums, for every model, in evaluation. Examples that come in
// several calls add up to the bits of one call, where each but the last has a multiple of TILE.
int harness_evaluate(const Network* network, const Models* models, const Examples* examples, int64_t count,
                     double* losses, int64_t* correct, int64_t threads) {
  const int64_t at_once = std::min<int64_t>(count, TILE);
  return in_threads(*network, at_once, models->count, threads, [&](Trainer& trainer, int64_t model) {
    trainer.load_model(*models, model);
    for (int64_t first = 0; first < count; first += at_once) {
      trainer.load_examples(*examples, model, first, std::min(at_once, count - first), true);
      trainer.forward(false);
      trainer.score(&losses[model], &correct[model]);
    }
  });
}

// The output of every model, M x classes x count, in training (statistics of the batch) or in evaluation.
int harness_forward(const Network* network, const Models* models, const Examples* examples, int64_t count,
                    int32_t training, Scalar* outputs, int64_t threads) {
  return in_threads(*network, count, models->count, threads, [&](Trainer& trainer, int64_t model) {
    trainer.load_model(*models, model);
    trainer.load_examples(*examples, model, 0, count, false);
    trainer.forward(training);
    const int64_t classes = trainer.classes();
    for (int64_t n = 0; n < count; n++)
      for (int64_t k = 0; k < classes; k++)
        outputs[(model * classes + k) * count + n] = trainer.output()[(n / TILE * classes + k) * TILE + n % TILE];
  });
}

// The gradients of every model's parameters, from that of its output, M x classes x count; running statistics stay.
int harness_backward(const Network* network, const Models* models, const Examples* examples, int64_t count,
                     const Scalar* output_gradients, Scalar* const* gradients, int64_t threads) {
  return in_threads(*network, count, models->count, threads, [&](Trainer& trainer, int64_t model) {
    trainer.load_model(*models, model);
    trainer.load_examples(*examples, model, 0, count, false);
    trainer.forward(true, false);
    const int64_t classes = trainer.classes();
    Scalar* to = trainer.output_gradient();
    std::fill(to, to + trainer.tiles() * classes * TILE, Scalar(0));
    for (int64_t n = 0; n < count; n++)
      for (int64_t k = 0; k < classes; k++)
        to[(n / TILE * classes + k) * TILE + n % TILE] = output_gradients[(model * classes + k) * count + n];
    trainer.backward();
    trainer.store_gradients(gradients, model);
  });
}

}  // extern "C"
