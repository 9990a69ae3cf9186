// An object's bytes as Python lends them, given back at the end of the scope. Only the stable ABI is used.
#pragma once
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

namespace datacup {

struct Buffer {
  Py_buffer view{};
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { PyBuffer_Release(&view); }
  template <typename T>
  T* as() const {
    return static_cast<T*>(view.buf);
  }
  template <typename T>
  Py_ssize_t count() const {
    return view.len / static_cast<Py_ssize_t>(sizeof(T));
  }
};

}  // namespace datacup
