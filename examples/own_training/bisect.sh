#!/bin/sh
# Walks from 0 to a number that follows from the seed, and counts its steps.
stride=1
while [ $# -gt 0 ]; do
    case "$1" in
    --stride) [ "$2" = large ] && stride=4 ;;
    --seed) seed="$2" ;;
    esac
    shift 2
done
goal=$(((seed * 7919 + 13) % 97 + 20)) place=0 tries=0
while [ "$place" -lt "$goal" ]; do
    place=$((place + stride)) tries=$((tries + 1))
    [ $((tries % 10)) -eq 0 ] && echo "{\"step\": $tries, \"place\": $place}"
done
echo "{\"tries\": $tries}"
