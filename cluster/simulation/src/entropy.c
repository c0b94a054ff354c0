/* The process's randomness, drawn from a seed.
 *
 * Rust's standard library, and every library that asks the system for randomness as it does, calls the C library's
 * getrandom through a symbol that a program may define itself. This file defines it; in C, since the rooms forbid
 * unsafe Rust. It draws from TANDEM_SIMULATION_SEED, and where that is not set it asks the system.
 *
 * Each thread begins anew with the seed and draws for itself: what one has drawn is nothing to another. */

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static bool seeded;
static uint64_t first;
static _Thread_local uint64_t drawn;

/* SplitMix64's output function. */
static uint64_t mix(uint64_t seed) {
  uint64_t z = seed + 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

__attribute__((constructor)) static void begin(void) {
  const char *seed = getenv("TANDEM_SIMULATION_SEED");
  if (seed != NULL) {
    seeded = true;
    first = mix(strtoull(seed, NULL, 10));
  }
}

ssize_t getrandom(void *buffer, size_t length, unsigned flags) {
  if (!seeded) {
    return syscall(SYS_getrandom, buffer, length, flags);
  }
  unsigned char *at = buffer;
  for (size_t left = length; left > 0;) {
    uint64_t next = mix(first + drawn++);
    size_t take = left < sizeof next ? left : sizeof next;
    memcpy(at, &next, take);
    at += take;
    left -= take;
  }
  return (ssize_t)length;
}
