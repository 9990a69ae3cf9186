// The Python module competition.data._native: tars read and written through file descriptors, while the interpreter's
// lock is free. Columns of int64 come and go as bytes.
#include "python_buffer.hpp"

#include <cerrno>
#include <new>

#include "tar_copy.hpp"
#include "tar_scan.hpp"

namespace {

using datacup::Buffer;
using datacup::Range;
using datacup::SampleTable;
using datacup::Scan;

constexpr std::int64_t kMostBytes = std::int64_t{1} << 60;  // of a file: no sum of places overflows

PyObject* refused(const char* what) {
  PyErr_SetString(PyExc_ValueError, what);
  return nullptr;
}

PyObject* column(const std::vector<std::int64_t>& values) {
  return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(values.data()),
                                   static_cast<Py_ssize_t>(values.size() * sizeof(std::int64_t)));
}

PyObject* names(const std::vector<std::string>& values) {
  PyObject* list = PyList_New(0);
  for (const std::string& value : values) {
    if (list == nullptr) return nullptr;
    PyObject* name = PyUnicode_DecodeASCII(value.data(), static_cast<Py_ssize_t>(value.size()), "strict");
    if (name == nullptr || PyList_Append(list, name) < 0) Py_CLEAR(list);
    Py_XDECREF(name);
  }
  return list;
}

// "N" in a format gives a reference away, and takes null for an error that is set.
PyObject* as_python(const SampleTable& table, std::int64_t end) {
  return Py_BuildValue("NNNNNNNNNL", column(table.starts), column(table.stops), column(table.firsts),
                       column(table.offsets), column(table.sizes), column(table.kinds), column(table.text_ends), names(table.extensions),
                       PyBytes_FromStringAndSize(table.texts.data(), static_cast<Py_ssize_t>(table.texts.size())),
                       static_cast<long long>(end));
}

// Over one range, or all of `ranges`; the samples of each begin anew.
Scan scan_all(int file, std::int64_t length, const Buffer& starts, const Buffer& stops, SampleTable& table,
              std::int64_t& end) {
  Scan found = Scan::kPlain;
  for (Py_ssize_t i = 0; found == Scan::kPlain && i < starts.count<std::int64_t>(); ++i)
    found = scan(file, length, {starts.as<std::int64_t>()[i], stops.as<std::int64_t>()[i]}, table, end);
  table.firsts.push_back(static_cast<std::int64_t>(table.offsets.size()));
  return found;
}

PyObject* scan(PyObject*, PyObject* args) {
  int file = 0;
  long long length = 0;
  Buffer starts, stops;
  if (!PyArg_ParseTuple(args, "iLy*y*", &file, &length, &starts.view, &stops.view)) return nullptr;
  bool sound = 0 <= length && length <= kMostBytes && starts.view.len == stops.view.len;
  for (Py_ssize_t i = 0; sound && i < starts.count<std::int64_t>(); ++i) {
    const std::int64_t start = starts.as<std::int64_t>()[i];
    sound = 0 <= start && start <= kMostBytes;
  }
  if (!sound) return refused("the ranges do not lie in a file");
  SampleTable table;
  std::int64_t end = 0;
  Scan found = Scan::kPlain;
  int code = 0;
  bool out_of_memory = false;
  Py_BEGIN_ALLOW_THREADS;
  try {
    found = scan_all(file, length, starts, stops, table, end);
    code = errno;
  } catch (const std::bad_alloc&) {
    out_of_memory = true;
  }
  Py_END_ALLOW_THREADS;
  if (out_of_memory) return PyErr_NoMemory();
  if (found == Scan::kUnreadable) {
    errno = code;
    return PyErr_SetFromErrno(PyExc_OSError);
  }
  if (found == Scan::kOther) Py_RETURN_NONE;
  return as_python(table, end);
}

PyObject* uids(PyObject*, PyObject* args) {
  Buffer text, starts, stops, out, proven;
  if (!PyArg_ParseTuple(args, "y*y*y*w*w*", &text.view, &starts.view, &stops.view, &out.view, &proven.view))
    return nullptr;
  const Py_ssize_t count = starts.count<std::int64_t>();
  bool sound = starts.view.len == stops.view.len && out.count<datacup::Uid>() == count && proven.view.len == count;
  for (Py_ssize_t i = 0; sound && i < count; ++i) {
    const auto start = starts.as<std::int64_t>()[i], stop = stops.as<std::int64_t>()[i];
    sound = 0 <= start && start <= stop && stop <= text.view.len;
  }
  if (!sound) return refused("the texts do not lie in their buffer");
  Py_BEGIN_ALLOW_THREADS;
  for (Py_ssize_t i = 0; i < count; ++i) {
    const auto start = starts.as<std::int64_t>()[i], stop = stops.as<std::int64_t>()[i];
    proven.as<unsigned char>()[i] = datacup::proven_uid(
        {text.as<char>() + start, static_cast<std::size_t>(stop - start)}, out.as<datacup::Uid>()[i]);
  }
  Py_END_ALLOW_THREADS;
  Py_RETURN_NONE;
}

struct CopyArguments {
  Buffer files, header, names, sources, offsets, sizes, starts;

  datacup::Copies members() const {
    return {header.as<unsigned char>(),  names.as<unsigned char>(), sources.as<std::int64_t>(),
            offsets.as<std::int64_t>(), sizes.as<std::int64_t>(),  starts.as<std::int64_t>(),
            sizes.count<std::int64_t>()};
  }

  bool is_sound() const {
    const Py_ssize_t count = sizes.count<std::int64_t>();
    bool sound = header.view.len == static_cast<Py_ssize_t>(datacup::kHeaderBytes) &&
                 names.view.len == count * static_cast<Py_ssize_t>(datacup::kNameBytes) &&
                 sources.view.len == sizes.view.len && offsets.view.len == sizes.view.len &&
                 starts.view.len == sizes.view.len;
    const datacup::Copies all = members();
    for (Py_ssize_t i = 0; sound && i < count; ++i) {
      sound = 0 <= all.sources[i] && all.sources[i] < files.count<int>() && 0 <= all.offsets[i] &&
              all.offsets[i] <= kMostBytes && 0 <= all.sizes[i] && all.sizes[i] < std::int64_t{1} << 33 &&
              0 <= all.starts[i] && all.starts[i] <= kMostBytes;
      if (sound && i)
        sound = all.starts[i] == all.starts[i - 1] + datacup::kBlock + datacup::padded(all.sizes[i - 1]);
    }
    return sound;
  }
};

PyObject* copy(PyObject*, PyObject* args) {
  int target = 0;
  CopyArguments given;
  if (!PyArg_ParseTuple(args, "iy*y*y*y*y*y*y*", &target, &given.files.view, &given.header.view, &given.names.view,
                        &given.sources.view, &given.offsets.view, &given.sizes.view, &given.starts.view))
    return nullptr;
  if (!given.is_sound()) return refused("the members do not make up a tar");
  datacup::CopyError error{};
  bool done = false, out_of_memory = false;
  Py_BEGIN_ALLOW_THREADS;
  try {
    done = datacup::copy(target, given.files.as<int>(), given.members(), error);
  } catch (const std::bad_alloc&) {
    out_of_memory = true;
  }
  Py_END_ALLOW_THREADS;
  if (out_of_memory) return PyErr_NoMemory();
  if (done) Py_RETURN_NONE;
  return Py_BuildValue("LLi", static_cast<long long>(error.source), static_cast<long long>(error.position), error.code);
}

PyMethodDef kMethods[] = {
    {"scan", scan, METH_VARARGS,
     "scan(descriptor, length, starts, stops) -> (starts, stops, firsts, offsets, sizes, kinds, text_ends, "
     "extensions, texts, end) or None\n\nThe samples of byte ranges of a tar, where all is plain; stop -1: up to the end mark, "
     "which is at `end`. OSError: it cannot be read."},
    {"uids", uids, METH_VARARGS,
     "uids(text, starts, stops, uids, proven)\n\nThe uids of json objects, into `uids` (two uint64 each), where `proven` "
     "(bool) says so."},
    {"copy", copy, METH_VARARGS,
     "copy(target, descriptors, header, names, sources, offsets, sizes, starts) -> None or (source, position, errno)\n\n"
     "Write members of a tar whose payloads lie in others. Source -1: the target; errno 0: the source ends there."},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef kModule = {PyModuleDef_HEAD_INIT, "_native", "Tars read and written, in C++.", 0, kMethods, nullptr,
                       nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__native() { return PyModule_Create(&kModule); }
