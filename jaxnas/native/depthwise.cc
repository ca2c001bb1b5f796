// Depthwise convolutions of float32 images in NHWC, with "same" padding of size / 2, and their
// gradients, for which XLA's CPU compiler has no fast code.
//
// A group of channels of one image is copied, zeros around it, to where it stays in the cache; then
// no loop has a border or a remainder. Work is cut in pieces that do not depend on the number of
// threads, and sums of pieces are added in their order, so that results repeat bit for bit.

#include <vector>

#include "pieces.h"

namespace jaxnas {
namespace {

constexpr int64_t kPieces = 16;  // of a batch, whose weight gradients are summed by themselves

struct Shape {
  int64_t images, height, width, channels, rows, columns, size, stride;  // rows, columns of y

  int64_t pad() const { return size / 2; }
  // Of an image with zeros around it, so large that no tap of an output is outside.
  int64_t wide() const { return std::max(width + pad(), (columns - 1) * stride + size - pad()) + pad(); }
  int64_t high() const { return std::max(height + pad(), (rows - 1) * stride + size - pad()) + pad(); }
};

// A group of channels of each of so many pixels.
inline void Pack(const float* from, int64_t pixels, int64_t c, int64_t channels, Lanes* to) {
  for (int64_t i = 0; i < pixels; ++i) to[i] = Load(from + i * channels, c, channels);
}

// The same of an image, with zeros around it.
const Lanes* Padded(const Shape& s, const float* image, int64_t c, std::vector<Lanes>& to) {
  to.assign(s.high() * s.wide(), Lanes{});
  for (int64_t row = 0; row < s.height; ++row) {
    Lanes* line = to.data() + (row + s.pad()) * s.wide() + s.pad();
    Pack(image + row * s.width * s.channels, s.width, c, s.channels, line);
  }
  return to.data();
}

// kCount neighbouring outputs of a row, from the first one's first tap on.
template <int kSize, int kStride, int kCount>
inline void Outputs(const Lanes* x, int64_t wide, const Lanes* kernel, const Shape& s, float* y,
                    int64_t c) {
  Lanes sums[kCount] = {};
  for (int64_t i = 0; i < kSize; ++i) {
    for (int64_t j = 0; j < kSize; ++j) {
      const Lanes weight = kernel[i * kSize + j];
      for (int64_t k = 0; k < kCount; ++k) sums[k] += weight * x[i * wide + j + k * kStride];
    }
  }
  for (int64_t k = 0; k < kCount; ++k) Store(y + k * s.channels, c, s.channels, sums[k]);
}

template <int kSize, int kStride>
void Forward(ffi::ThreadPool pool, const Shape& s, const float* x, const float* kernel, float* y) {
  constexpr int64_t kCount = 4;
  InPieces(pool, s.images, [&](int64_t image) {
    thread_local std::vector<Lanes> padded;
    Lanes taps[kSize * kSize];
    for (int64_t c = 0; c < s.channels; c += kLanes) {
      Pack(kernel, kSize * kSize, c, s.channels, taps);
      const Lanes* from = Padded(s, x + image * s.height * s.width * s.channels, c, padded);
      for (int64_t row = 0; row < s.rows; ++row) {
        const Lanes* line = from + row * kStride * s.wide();
        float* to = y + (image * s.rows + row) * s.columns * s.channels;
        int64_t column = 0;
        for (; column + kCount <= s.columns; column += kCount) {
          Outputs<kSize, kStride, kCount>(line + column * kStride, s.wide(), taps, s,
                                          to + column * s.channels, c);
        }
        for (; column < s.columns; ++column) {
          Outputs<kSize, kStride, 1>(line + column * kStride, s.wide(), taps, s,
                                     to + column * s.channels, c);
        }
      }
    }
  });
}

// The gradient of the images: each output's goes back to the pixels that it was made of.
template <int kSize, int kStride>
void Backward(ffi::ThreadPool pool, const Shape& s, const float* g, const float* kernel, float* dx) {
  InPieces(pool, s.images, [&](int64_t image) {
    thread_local std::vector<Lanes> padded;
    Lanes taps[kSize * kSize];
    for (int64_t c = 0; c < s.channels; c += kLanes) {
      Pack(kernel, kSize * kSize, c, s.channels, taps);
      padded.assign(s.high() * s.wide(), Lanes{});
      for (int64_t row = 0; row < s.rows; ++row) {
        const float* line = g + (image * s.rows + row) * s.columns * s.channels;
        for (int64_t column = 0; column < s.columns; ++column) {
          const Lanes gradient = Load(line + column * s.channels, c, s.channels);
          Lanes* to = padded.data() + row * kStride * s.wide() + column * kStride;
          for (int64_t i = 0; i < kSize; ++i) {
            for (int64_t j = 0; j < kSize; ++j) to[i * s.wide() + j] += taps[i * kSize + j] * gradient;
          }
        }
      }
      for (int64_t row = 0; row < s.height; ++row) {
        const Lanes* line = padded.data() + (row + s.pad()) * s.wide() + s.pad();
        float* to = dx + (image * s.height + row) * s.width * s.channels;
        for (int64_t column = 0; column < s.width; ++column) {
          Store(to + column * s.channels, c, s.channels, line[column]);
        }
      }
    }
  });
}

// Adds to `sums` what a row of output gradients says of every tap.
template <int kSize, int kStride>
inline void Taps(const Lanes* x, int64_t wide, const Lanes* g, int64_t columns, Lanes* sums) {
  for (int64_t i = 0; i < kSize; ++i) {
    Lanes own[kSize];
    for (int64_t j = 0; j < kSize; ++j) own[j] = sums[i * kSize + j];
    for (int64_t column = 0; column < columns; ++column) {
      const Lanes* from = x + i * wide + column * kStride;
      for (int64_t j = 0; j < kSize; ++j) own[j] += from[j] * g[column];
    }
    for (int64_t j = 0; j < kSize; ++j) sums[i * kSize + j] = own[j];
  }
}

template <int kSize, int kStride>
void WeightGradient(ffi::ThreadPool pool, const Shape& s, const float* x, const float* g,
                    float* dkernel) {
  const int64_t length = kSize * kSize * Groups(s.channels);
  const int64_t pieces = std::min(kPieces, s.images);
  std::vector<Lanes> sums(pieces * length, Lanes{});
  InPieces(pool, pieces, [&](int64_t piece) {
    thread_local std::vector<Lanes> padded, gradients;
    gradients.resize(s.rows * s.columns);
    for (int64_t image = piece; image < s.images; image += pieces) {
      Lanes* own = sums.data() + piece * length;
      for (int64_t c = 0; c < s.channels; c += kLanes, own += kSize * kSize) {
        const Lanes* from = Padded(s, x + image * s.height * s.width * s.channels, c, padded);
        const float* back = g + image * s.rows * s.columns * s.channels;
        Pack(back, s.rows * s.columns, c, s.channels, gradients.data());
        for (int64_t row = 0; row < s.rows; ++row) {
          Taps<kSize, kStride>(from + row * kStride * s.wide(), s.wide(),
                               gradients.data() + row * s.columns, s.columns, own);
        }
      }
    }
  });
  for (int64_t piece = 1; piece < pieces; ++piece) {
    for (int64_t i = 0; i < length; ++i) sums[i] += sums[piece * length + i];
  }
  for (int64_t i = 0; i < length; ++i) {
    const int64_t tap = i % (kSize * kSize);
    Store(dkernel + tap * s.channels, i / (kSize * kSize) * kLanes, s.channels, sums[i]);
  }
}

#define BY_STRIDE(run, size, s, ...)                                            \
  case size:                                                                    \
    if (s.stride == 1) {                                                        \
      run<size, 1>(pool, s, __VA_ARGS__);                                       \
    } else {                                                                    \
      run<size, 2>(pool, s, __VA_ARGS__);                                       \
    }                                                                           \
    break;
#define BY_SIZE(run, s, ...)                                                    \
  switch (s.size) {                                                             \
    BY_STRIDE(run, 3, s, __VA_ARGS__)                                           \
    BY_STRIDE(run, 5, s, __VA_ARGS__)                                           \
    BY_STRIDE(run, 7, s, __VA_ARGS__)                                           \
    default:                                                                    \
      return ffi::Error::InvalidArgument("size must be 3, 5 or 7");             \
  }

// As many filters as the axes before a kernel's last three have elements, each for its share of the
// images, and the elements of each filter's share.
struct Batch {
  Shape shape;
  int64_t filters, x, y, kernel;
};

Batch BatchOf(Dimensions x, Dimensions y, Dimensions kernel, int64_t stride) {
  const int64_t filters = Before(kernel, 3);
  const size_t n = x.size();
  const Shape s{Before(x, 3) / std::max<int64_t>(filters, 1), x[n - 3], x[n - 2], x[n - 1],
                y[n - 3], y[n - 2], kernel[kernel.size() - 2], stride};
  return {s, filters, s.images * s.height * s.width * s.channels,
          s.images * s.rows * s.columns * s.channels, s.size * s.size * s.channels};
}

ffi::Error ForwardCall(ffi::ThreadPool pool, Floats x, Floats kernel, Result y, int64_t stride) {
  const Batch b = BatchOf(x.dimensions(), y->dimensions(), kernel.dimensions(), stride);
  for (int64_t f = 0; f < b.filters; ++f) {
    BY_SIZE(Forward, b.shape, x.typed_data() + f * b.x, kernel.typed_data() + f * b.kernel,
            y->typed_data() + f * b.y);
  }
  return ffi::Error::Success();
}

ffi::Error BackwardCall(ffi::ThreadPool pool, Floats g, Floats kernel, Result dx, int64_t stride) {
  const Batch b = BatchOf(dx->dimensions(), g.dimensions(), kernel.dimensions(), stride);
  for (int64_t f = 0; f < b.filters; ++f) {
    BY_SIZE(Backward, b.shape, g.typed_data() + f * b.y, kernel.typed_data() + f * b.kernel,
            dx->typed_data() + f * b.x);
  }
  return ffi::Error::Success();
}

ffi::Error WeightCall(ffi::ThreadPool pool, Floats x, Floats g, Result dkernel, int64_t stride) {
  const Batch b = BatchOf(x.dimensions(), g.dimensions(), dkernel->dimensions(), stride);
  for (int64_t f = 0; f < b.filters; ++f) {
    BY_SIZE(WeightGradient, b.shape, x.typed_data() + f * b.x, g.typed_data() + f * b.y,
            dkernel->typed_data() + f * b.kernel);
  }
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(JaxnasDepthwise, ForwardCall, JAXNAS_BINDING);
XLA_FFI_DEFINE_HANDLER_SYMBOL(JaxnasDepthwiseInput, BackwardCall, JAXNAS_BINDING);
XLA_FFI_DEFINE_HANDLER_SYMBOL(JaxnasDepthwiseWeight, WeightCall, JAXNAS_BINDING);

}  // namespace jaxnas
