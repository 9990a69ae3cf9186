// The Python module participant_kit.subsets._native: batches of UTF-8 captions, given as one buffer and int64 starts and
// ends, so that no Python string is made and the interpreter's lock is free meanwhile. Only the stable ABI is used.
#include "python_buffer.hpp"

#include <memory>
#include <new>

#include "fasttext_model.hpp"

namespace {

using datacup::Buffer;
using datacup::Model;

constexpr const char* kCapsule = "datacup.fasttext_model";

struct LoadedModel {
  Buffer file;
  std::unique_ptr<Model> model;
};

// Captions of a batch: caption i is text[starts[i]:ends[i]].
struct Batch {
  Buffer text, starts, ends, out;

  Py_ssize_t size() const { return starts.view.len / static_cast<Py_ssize_t>(sizeof(std::int64_t)); }

  bool is_sound(std::size_t out_item) const {
    bool sound = starts.view.len == ends.view.len && out.view.len == size() * static_cast<Py_ssize_t>(out_item);
    for (Py_ssize_t i = 0; sound && i < size(); ++i) {
      const auto start = starts.as<const std::int64_t>()[i], end = ends.as<const std::int64_t>()[i];
      sound = 0 <= start && start <= end && end <= text.view.len;
    }
    if (!sound) PyErr_SetString(PyExc_ValueError, "the captions do not lie in their buffer");
    return sound;
  }
  std::string_view caption(Py_ssize_t i) const {
    const auto start = starts.as<const std::int64_t>()[i];
    return {text.as<const char>() + start, static_cast<std::size_t>(ends.as<const std::int64_t>()[i] - start)};
  }
};

void release_model(PyObject* capsule) {
  delete static_cast<LoadedModel*>(PyCapsule_GetPointer(capsule, kCapsule));
}

PyObject* load(PyObject*, PyObject* args) {
  auto loaded = std::make_unique<LoadedModel>();
  if (!PyArg_ParseTuple(args, "y*", &loaded->file.view)) return nullptr;
  try {
    const auto size = static_cast<std::size_t>(loaded->file.view.len);
    loaded->model = std::make_unique<Model>(std::string_view(loaded->file.as<const char>(), size));
  } catch (const datacup::MalformedModel& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
    return nullptr;
  } catch (const datacup::UnsupportedModel& error) {
    PyErr_SetString(PyExc_NotImplementedError, error.what());
    return nullptr;
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
  PyObject* capsule = PyCapsule_New(loaded.get(), kCapsule, release_model);
  if (capsule != nullptr) loaded.release();
  return capsule;
}

const Model* model_of(PyObject* capsule) {
  auto* loaded = static_cast<LoadedModel*>(PyCapsule_GetPointer(capsule, kCapsule));
  return loaded == nullptr ? nullptr : loaded->model.get();
}

PyObject* labels(PyObject*, PyObject* capsule) {
  const Model* model = model_of(capsule);
  if (model == nullptr) return nullptr;
  PyObject* names = PyList_New(0);
  for (const std::string& label : model->labels()) {
    if (names == nullptr) return nullptr;
    PyObject* name = PyUnicode_DecodeUTF8(label.data(), static_cast<Py_ssize_t>(label.size()), "backslashreplace");
    if (name == nullptr || PyList_Append(names, name) < 0) Py_CLEAR(names);
    Py_XDECREF(name);
  }
  return names;
}

PyObject* predict(PyObject*, PyObject* args) {
  PyObject* capsule = nullptr;
  Batch batch;
  if (!PyArg_ParseTuple(args, "Oy*y*y*w*", &capsule, &batch.text.view, &batch.starts.view, &batch.ends.view,
                        &batch.out.view))
    return nullptr;
  const Model* model = model_of(capsule);
  if (model == nullptr || !batch.is_sound(sizeof(std::int32_t))) return nullptr;
  bool out_of_memory = false;
  Py_BEGIN_ALLOW_THREADS;
  try {
    Model::Memory memory;
    for (Py_ssize_t i = 0; i < batch.size(); ++i)
      batch.out.as<std::int32_t>()[i] = model->predict(batch.caption(i), memory);
  } catch (const std::bad_alloc&) {
    out_of_memory = true;
  }
  Py_END_ALLOW_THREADS;
  if (out_of_memory) return PyErr_NoMemory();
  Py_RETURN_NONE;
}

// Length of the white space character of `str.split` that begins here, 0 for another character.
inline int space_length(const unsigned char* at, const unsigned char* end) {
  const unsigned char first = *at;
  if (first < 0x80) return first == ' ' || (first >= 0x09 && first <= 0x0D) || (first >= 0x1C && first <= 0x1F);
  if (first == 0xC2) return end - at >= 2 && (at[1] == 0x85 || at[1] == 0xA0) ? 2 : 0;
  if ((first != 0xE1 && first != 0xE2 && first != 0xE3) || end - at < 3) return 0;
  const int rest = at[1] << 8 | at[2];
  if (first == 0xE1) return rest == 0x9A80 ? 3 : 0;
  if (first == 0xE3) return rest == 0x8080 ? 3 : 0;
  const bool space = (rest >= 0x8080 && rest <= 0x808A) || rest == 0x80A8 || rest == 0x80A9 || rest == 0x80AF ||
                     rest == 0x819F;
  return space ? 3 : 0;
}

// 0: fewer characters than asked for; 1: enough of them and too few words; 2: enough of both. Stops as soon as it knows.
unsigned char size_up(std::string_view caption, Py_ssize_t least_characters, Py_ssize_t least_words) {
  const auto* at = reinterpret_cast<const unsigned char*>(caption.data());
  const auto* end = at + caption.size();
  Py_ssize_t characters = 0, words = 0;
  bool inside = false;
  while (at < end && (characters < least_characters || words < least_words)) {
    const int space = space_length(at, end);
    words += !space && !inside;
    inside = !space;
    at += space ? space : 1;
    while (at < end && (*at & 0xC0) == 0x80) ++at;
    ++characters;
  }
  return characters < least_characters ? 0 : words < least_words ? 1 : 2;
}

PyObject* sizes(PyObject*, PyObject* args) {
  Batch batch;
  Py_ssize_t least_characters = 0, least_words = 0;
  if (!PyArg_ParseTuple(args, "y*y*y*nnw*", &batch.text.view, &batch.starts.view, &batch.ends.view, &least_characters,
                        &least_words, &batch.out.view))
    return nullptr;
  if (!batch.is_sound(1)) return nullptr;
  Py_BEGIN_ALLOW_THREADS;
  for (Py_ssize_t i = 0; i < batch.size(); ++i)
    batch.out.as<unsigned char>()[i] = size_up(batch.caption(i), least_characters, least_words);
  Py_END_ALLOW_THREADS;
  Py_RETURN_NONE;
}

PyMethodDef kMethods[] = {
    {"load", load, METH_VARARGS,
     "load(file) -> model\n\nA fastText model from its bytes, which stay in use. ValueError: damaged; "
     "NotImplementedError: of another kind than lid.176's."},
    {"labels", labels, METH_O, "labels(model) -> list of str\n\nThe labels that predict() gives positions in."},
    {"predict", predict, METH_VARARGS,
     "predict(model, text, starts, ends, out)\n\nPosition of each caption's likeliest label, or -1, into int32 `out`."},
    {"sizes", sizes, METH_VARARGS,
     "sizes(text, starts, ends, characters, words, out)\n\nInto uint8 `out`: 0 where a caption has too few characters, "
     "1 where it has enough and too few words (of str.split), else 2."},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef kModule = {PyModuleDef_HEAD_INIT, "_native", "Language identification and caption sizes, in C++.", 0,
                       kMethods, nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__native() { return PyModule_Create(&kModule); }
