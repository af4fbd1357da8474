// One function compiled for several instruction sets and picked at load time. With
// -ffp-contract=off all of them give the same bits.
#ifndef MUSTER_BASE_TARGET_CLONES_H_
#define MUSTER_BASE_TARGET_CLONES_H_

// Sanitizers run before the resolvers that pick a clone may: plain code there.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define MUSTER_TARGET_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define MUSTER_TARGET_CLONES
#endif

#endif  // MUSTER_BASE_TARGET_CLONES_H_
