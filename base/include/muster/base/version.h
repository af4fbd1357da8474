// The version of Muster and of everything whose change alters results or files.
#ifndef MUSTER_BASE_VERSION_H_
#define MUSTER_BASE_VERSION_H_

namespace muster {

inline constexpr const char* kVersion = "0.1.0";
/// Bumped whenever one of our own kernels, the seeding or the sample order gives other bits.
inline constexpr int kNumericsVersion = 5;

}  // namespace muster

#endif  // MUSTER_BASE_VERSION_H_
