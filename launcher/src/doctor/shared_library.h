// A library that may not be there, loaded at run time.
#ifndef MUSTER_LAUNCHER_DOCTOR_SHARED_LIBRARY_H_
#define MUSTER_LAUNCHER_DOCTOR_SHARED_LIBRARY_H_

#include <dlfcn.h>

#include <initializer_list>
#include <string>

namespace muster::launcher::doctor {

/// Stays loaded: libraries of drivers do not like to be unloaded.
class SharedLibrary {
 public:
  /// The first of `names` that can be loaded.
  explicit SharedLibrary(std::initializer_list<std::string> names) {
    for (const std::string& name : names) {
      if (handle_ == nullptr && !name.empty()) handle_ = dlopen(name.c_str(), RTLD_NOW);
    }
  }
  bool is_loaded() const { return handle_ != nullptr; }

  /// Calls `name`, a C function that returns 0 for success. Another value when it is not there.
  template <typename... Arguments>
  int call(const char* name, Arguments... arguments) const {
    constexpr int kNoSuchFunction = -1;
    void* const symbol = handle_ == nullptr ? nullptr : dlsym(handle_, name);
    if (symbol == nullptr) return kNoSuchFunction;
    return reinterpret_cast<int (*)(Arguments...)>(symbol)(arguments...);
  }

 private:
  void* handle_ = nullptr;
};

}  // namespace muster::launcher::doctor

#endif  // MUSTER_LAUNCHER_DOCTOR_SHARED_LIBRARY_H_
