// Convolutions of float32 images in NHWC by kernels in HWIO, with "same" padding of size / 2, and
// their gradients: up to three times as fast as XLA's CPU compiler makes them.
//
// A block of sums, some pixels times some vectors of output channels, stays in registers while taps
// and input channels are added to it. Work is cut in pieces that do not depend on the number of
// threads, so that results repeat bit for bit.

#include <vector>

#include "pieces.h"

namespace jaxnas {
namespace {

constexpr int64_t kVectors = 2;   // of output channels at a time
constexpr int64_t kPieces = 16;   // of a batch, at most, whose weight gradients are summed by themselves
constexpr int64_t kHeld = 1 << 18;  // floats of all those sums

struct Shape {
  int64_t images, height, width, c_in, rows, columns, c_out, size, stride;  // rows, columns of y
};

// An image with zeros around it, of which a pixel's channels lie together.
struct Padded {
  int64_t border, wide, high, channels;

  Padded(int64_t border, int64_t height, int64_t width, int64_t channels)
      : border(border), wide(width + 2 * border), high(height + 2 * border), channels(channels) {}

  int64_t size() const { return wide * high * channels; }
  int64_t at(int64_t row, int64_t column) const {
    return ((row + border) * wide + column + border) * channels;
  }
  void Fill(const float* image, float* to) const {
    const int64_t line = (wide - 2 * border) * channels;
    std::fill_n(to, size(), 0.0f);
    for (int64_t row = 0; row < high - 2 * border; ++row) {
      std::copy_n(image + row * line, line, to + at(row, 0));
    }
  }
};

// Some pixels of a result, each the sum over taps of what is read there times the tap's matrix. A
// tap is one of the kernel, or a row of them: what those read lies together.
struct Reading {
  std::vector<int64_t> from, to;  // of each pixel, the first channel read, and written
  std::vector<int64_t> taps, offsets;  // which matrix of the kernel, and where relative to `from`
};

// Matrices (taps, channels, outputs) in blocks of kVectors vectors of outputs, filled up with zeros.
struct Packed {
  int64_t channels, outputs, taps;
  std::vector<Lanes> values;

  Packed(const float* kernel, int64_t taps, int64_t channels, int64_t outputs)
      : channels(channels), outputs(outputs), taps(taps),
        values(taps * channels * Groups(outputs)) {
    Lanes* to = values.data();
    for (int64_t group = 0; group < Groups(outputs); group += kVectors) {
      for (int64_t row = 0; row < taps * channels; ++row) {
        for (int64_t v = 0; v < vectors(group); ++v) {
          *to++ = Load(kernel + row * outputs, (group + v) * kLanes, outputs);
        }
      }
    }
  }

  int64_t vectors(int64_t group) const { return std::min(kVectors, Groups(outputs) - group); }
  const Lanes* block(int64_t group) const { return values.data() + group * taps * channels; }
};

template <int kCount, int kWide>
inline void Block(const Reading& r, const Packed& kernel, int64_t group, int64_t pixel,
                  const float* x, float* y) {
  const float* read[kCount];
  for (int64_t k = 0; k < kCount; ++k) read[k] = x + r.from[pixel + k];
  Lanes sums[kCount][kWide] = {};
  for (size_t t = 0; t < r.taps.size(); ++t) {
    const Lanes* weights = kernel.block(group) + r.taps[t] * kernel.channels * kWide;
    const int64_t offset = r.offsets[t];
    for (int64_t c = 0; c < kernel.channels; ++c, weights += kWide) {
      for (int64_t k = 0; k < kCount; ++k) {
        const float value = read[k][offset + c];
        for (int64_t v = 0; v < kWide; ++v) sums[k][v] += value * weights[v];
      }
    }
  }
  for (int64_t k = 0; k < kCount; ++k) {
    for (int64_t v = 0; v < kWide; ++v) {
      Store(y + r.to[pixel + k], (group + v) * kLanes, kernel.outputs, sums[k][v]);
    }
  }
}

// All pixels; where the last do not fill a block, those before them are computed again.
template <int kWide>
void Blocks(const Reading& r, const Packed& kernel, int64_t group, const float* x, float* y) {
  constexpr int64_t kCount = std::min<int64_t>(kSums / kWide, 12);
  const int64_t pixels = r.from.size();
  int64_t pixel = 0;
  if (pixels >= kCount) {
    for (; pixel < pixels; pixel += kCount) {
      Block<kCount, kWide>(r, kernel, group, std::min(pixel, pixels - kCount), x, y);
    }
  }
  for (; pixel < pixels; ++pixel) Block<1, kWide>(r, kernel, group, pixel, x, y);
}

void Compute(const Reading& r, const Packed& kernel, const float* x, float* y) {
  for (int64_t group = 0; group < Groups(kernel.outputs); group += kVectors) {
    if (kernel.vectors(group) == 1) {
      Blocks<1>(r, kernel, group, x, y);
    } else {
      Blocks<kVectors>(r, kernel, group, x, y);
    }
  }
}

// Each image of `from` padded, and read in these ways.
void OverImages(ffi::ThreadPool pool, int64_t images, const Padded& padded,
                const std::vector<Reading>& readings, const Packed& kernel, const float* from,
                int64_t from_size, float* to, int64_t to_size) {
  InPieces(pool, images, [&](int64_t image) {
    thread_local std::vector<float> held;
    held.resize(padded.size());
    padded.Fill(from + image * from_size, held.data());
    for (const Reading& reading : readings) {
      Compute(reading, kernel, held.data(), to + image * to_size);
    }
  });
}

Reading ForwardReading(const Shape& s, const Padded& padded) {
  Reading r;
  for (int64_t i = 0; i < s.size; ++i) {
    r.taps.push_back(i);
    r.offsets.push_back(i * padded.wide * s.c_in);
  }
  const int64_t pad = s.size / 2;
  for (int64_t i = 0; i < s.rows * s.columns; ++i) {
    r.from.push_back(padded.at(i / s.columns * s.stride - pad, i % s.columns * s.stride - pad));
    r.to.push_back(i * s.c_out);
  }
  return r;
}

// The pixels of an image whose row and column leave these remainders by the stride: which outputs
// were made of them, by which taps.
Reading BackwardReading(const Shape& s, const Padded& padded, int64_t row, int64_t column) {
  Reading r;
  const int64_t pad = s.size / 2;
  for (int64_t i = (row + pad) % s.stride; i < s.size; i += s.stride) {
    for (int64_t j = (column + pad) % s.stride; j < s.size; j += s.stride) {
      const int64_t down = (row + pad - i) / s.stride;
      const int64_t right = (column + pad - j) / s.stride;
      r.taps.push_back(i * s.size + j);
      r.offsets.push_back((down * padded.wide + right) * s.c_out);
    }
  }
  for (int64_t y = row; y < s.height; y += s.stride) {
    for (int64_t x = column; x < s.width; x += s.stride) {
      r.from.push_back(padded.at(y / s.stride, x / s.stride));
      r.to.push_back((y * s.width + x) * s.c_in);
    }
  }
  return r;
}

void Forward(ffi::ThreadPool pool, const Shape& s, const float* x, const float* kernel, float* y) {
  const Padded padded(s.size / 2 + s.stride - 1, s.height, s.width, s.c_in);
  const Packed packed(kernel, s.size, s.size * s.c_in, s.c_out);
  OverImages(pool, s.images, padded, {ForwardReading(s, padded)}, packed, x,
             s.height * s.width * s.c_in, y, s.rows * s.columns * s.c_out);
}

// `kernel` is transposed: (size, size, c_out, c_in).
void Backward(ffi::ThreadPool pool, const Shape& s, const float* g, const float* kernel, float* dx) {
  const Padded padded(s.size / 2 + 1, s.rows, s.columns, s.c_out);
  const Packed packed(kernel, s.size * s.size, s.c_out, s.c_in);
  std::vector<Reading> readings;
  for (int64_t i = 0; i < s.stride * s.stride; ++i) {
    readings.push_back(BackwardReading(s, padded, i / s.stride, i % s.stride));
  }
  OverImages(pool, s.images, padded, readings, packed, g, s.rows * s.columns * s.c_out, dx,
             s.height * s.width * s.c_in);
}

// Adds to kCount input channels times kWide vectors what some pixels say of them.
template <int kCount, int kWide>
inline void Outer(const std::vector<int64_t>& from, const float* x, const Lanes* g, Lanes* sums) {
  Lanes own[kCount][kWide];
  for (int64_t k = 0; k < kCount; ++k) {
    for (int64_t v = 0; v < kWide; ++v) own[k][v] = sums[k * kWide + v];
  }
  for (size_t i = 0; i < from.size(); ++i, g += kWide) {
    for (int64_t k = 0; k < kCount; ++k) {
      const float value = x[from[i] + k];
      for (int64_t v = 0; v < kWide; ++v) own[k][v] += value * g[v];
    }
  }
  for (int64_t k = 0; k < kCount; ++k) {
    for (int64_t v = 0; v < kWide; ++v) sums[k * kWide + v] = own[k][v];
  }
}

// What an image says of a row of taps: (size * c_in, kWide vectors of outputs).
template <int kWide>
void Matrix(const Shape& s, const std::vector<int64_t>& from, const float* x, const float* g,
            int64_t group, Lanes* sums) {
  constexpr int64_t kCount = std::min<int64_t>(kSums / kWide, 12);
  thread_local std::vector<Lanes> held;
  held.resize(from.size() * kWide);
  for (size_t i = 0; i < from.size(); ++i) {
    for (int64_t v = 0; v < kWide; ++v) {
      held[i * kWide + v] = Load(g + i * s.c_out, (group + v) * kLanes, s.c_out);
    }
  }
  const int64_t channels = s.size * s.c_in;
  int64_t c = 0;
  for (; c + kCount <= channels; c += kCount) {
    Outer<kCount, kWide>(from, x + c, held.data(), sums + c * kWide);
  }
  for (; c + 3 <= channels; c += 3) Outer<3, kWide>(from, x + c, held.data(), sums + c * kWide);
  for (; c < channels; ++c) Outer<1, kWide>(from, x + c, held.data(), sums + c * kWide);
}

// The sums of a piece's images: for each row of taps and block of outputs, one after another.
struct Sums {
  int64_t rows, channels, outputs, pieces;
  std::vector<Lanes> values;

  Sums(const Shape& s)
      : rows(s.size), channels(s.size * s.c_in), outputs(s.c_out),
        pieces(std::clamp<int64_t>(kHeld / (size() * kLanes), 1, std::min(kPieces, s.images))),
        values(pieces * size()) {}

  int64_t size() const { return rows * channels * Groups(outputs); }
  int64_t blocks() const { return (Groups(outputs) + kVectors - 1) / kVectors; }
  Lanes* at(int64_t piece, int64_t row, int64_t block) {
    const int64_t group = block * kVectors;
    const int64_t wide = std::min(kVectors, Groups(outputs) - group);
    return values.data() + piece * size() + (group * rows + row * wide) * channels;
  }
  // All pieces' sums, in their order.
  void WriteTo(float* dkernel) {
    for (int64_t piece = 1; piece < pieces; ++piece) {
      for (int64_t i = 0; i < size(); ++i) values[i] += values[piece * size() + i];
    }
    for (int64_t block = 0; block < blocks(); ++block) {
      const int64_t wide = std::min(kVectors, Groups(outputs) - block * kVectors);
      const Lanes* from = at(0, 0, block);
      for (int64_t i = 0; i < rows * channels; ++i) {
        for (int64_t v = 0; v < wide; ++v) {
          Store(dkernel + i * outputs, (block * kVectors + v) * kLanes, outputs, *from++);
        }
      }
    }
  }
};

void WeightGradient(ffi::ThreadPool pool, const Shape& s, const float* x, const float* g,
                    float* dkernel) {
  const int64_t pad = s.size / 2;
  const Padded padded(pad + s.stride - 1, s.height, s.width, s.c_in);
  std::vector<float> held(s.images * padded.size());
  InPieces(pool, s.images, [&](int64_t image) {
    padded.Fill(x + image * s.height * s.width * s.c_in, held.data() + image * padded.size());
  });
  std::vector<int64_t> from;
  for (int64_t i = 0; i < s.rows * s.columns; ++i) {
    from.push_back(padded.at(i / s.columns * s.stride - pad, i % s.columns * s.stride - pad));
  }
  Sums sums(s);
  // Where there are few pieces, rows of taps and blocks of outputs are pieces of their own.
  const int64_t parts = s.size * sums.blocks();
  const int64_t together = sums.pieces < kPieces / 2 ? 1 : parts;
  InPieces(pool, sums.pieces * parts / together, [&](int64_t i) {
    const int64_t first = i % (parts / together) * together;
    const int64_t piece = i / (parts / together);
    for (int64_t image = piece; image < s.images; image += sums.pieces) {
      const float* of_image = g + image * s.rows * s.columns * s.c_out;
      for (int64_t part = first; part < first + together; ++part) {
        const int64_t row = part % s.size;
        const int64_t block = part / s.size;
        const float* read = held.data() + image * padded.size() + row * padded.wide * s.c_in;
        Lanes* to = sums.at(piece, row, block);
        if (Groups(s.c_out) - block * kVectors == 1) {
          Matrix<1>(s, from, read, of_image, block * kVectors, to);
        } else {
          Matrix<kVectors>(s, from, read, of_image, block * kVectors, to);
        }
      }
    }
  });
  sums.WriteTo(dkernel);
}

// As many kernels as the axes before their last four have elements, each for its share of the
// images.
struct Batch {
  Shape shape;
  int64_t kernels, x, y, kernel;
};

Batch BatchOf(Dimensions x, Dimensions y, Dimensions kernel, int64_t stride) {
  const int64_t kernels = Before(kernel, 4);
  const size_t n = x.size();
  const int64_t size = kernel[kernel.size() - 3];
  const Shape s{Before(x, 3) / std::max<int64_t>(kernels, 1), x[n - 3], x[n - 2], x[n - 1],
                y[n - 3], y[n - 2], y[n - 1], size, stride};
  return {s, kernels, s.images * s.height * s.width * s.c_in,
          s.images * s.rows * s.columns * s.c_out, size * size * s.c_in * s.c_out};
}

ffi::Error ForwardCall(ffi::ThreadPool pool, Floats x, Floats kernel, Result y, int64_t stride) {
  const Batch b = BatchOf(x.dimensions(), y->dimensions(), kernel.dimensions(), stride);
  for (int64_t i = 0; i < b.kernels; ++i) {
    Forward(pool, b.shape, x.typed_data() + i * b.x, kernel.typed_data() + i * b.kernel,
            y->typed_data() + i * b.y);
  }
  return ffi::Error::Success();
}

ffi::Error BackwardCall(ffi::ThreadPool pool, Floats g, Floats kernel, Result dx, int64_t stride) {
  const Batch b = BatchOf(dx->dimensions(), g.dimensions(), kernel.dimensions(), stride);
  for (int64_t i = 0; i < b.kernels; ++i) {
    Backward(pool, b.shape, g.typed_data() + i * b.y, kernel.typed_data() + i * b.kernel,
             dx->typed_data() + i * b.x);
  }
  return ffi::Error::Success();
}

ffi::Error WeightCall(ffi::ThreadPool pool, Floats x, Floats g, Result dkernel, int64_t stride) {
  const Batch b = BatchOf(x.dimensions(), g.dimensions(), dkernel->dimensions(), stride);
  for (int64_t i = 0; i < b.kernels; ++i) {
    WeightGradient(pool, b.shape, x.typed_data() + i * b.x, g.typed_data() + i * b.y,
                   dkernel->typed_data() + i * b.kernel);
  }
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(JaxnasConvolution, ForwardCall, JAXNAS_BINDING);
XLA_FFI_DEFINE_HANDLER_SYMBOL(JaxnasConvolutionInput, BackwardCall, JAXNAS_BINDING);
XLA_FFI_DEFINE_HANDLER_SYMBOL(JaxnasConvolutionWeight, WeightCall, JAXNAS_BINDING);

}  // namespace jaxnas
