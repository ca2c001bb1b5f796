// What the kernels share: vectors of channels, and work in pieces on XLA's threads.

#ifndef JAXNAS_NATIVE_PIECES_H_
#define JAXNAS_NATIVE_PIECES_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#include "xla/ffi/api/ffi.h"

namespace jaxnas {

namespace ffi = xla::ffi;

#if defined(__AVX512F__)
constexpr int64_t kLanes = 16;  // floats of a register
constexpr int64_t kSums = 24;   // registers that hold sums; some of the rest hold what is added
#elif defined(__AVX__)
constexpr int64_t kLanes = 8;
constexpr int64_t kSums = 12;
#else
constexpr int64_t kLanes = 4;
constexpr int64_t kSums = 12;
#endif

typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float)), aligned(sizeof(float))));

inline int64_t Groups(int64_t channels) { return (channels + kLanes - 1) / kLanes; }

// Channels [c, c + kLanes) of a pixel; those beyond the last are 0.
inline Lanes Load(const float* pixel, int64_t c, int64_t channels) {
  if (c + kLanes <= channels) return *reinterpret_cast<const Lanes*>(pixel + c);
  Lanes lanes = {};
  for (int64_t i = 0; i < channels - c; ++i) lanes[i] = pixel[c + i];
  return lanes;
}

inline void Store(float* pixel, int64_t c, int64_t channels, Lanes lanes) {
  if (c + kLanes <= channels) {
    *reinterpret_cast<Lanes*>(pixel + c) = lanes;
  } else {
    for (int64_t i = 0; i < channels - c; ++i) pixel[c + i] = lanes[i];
  }
}

// Runs `piece` 0 to `pieces` - 1 on the pool's threads and this one. The caller takes part, so that
// it waits for nothing but pieces that a thread is at.
template <typename Piece>
void InPieces(ffi::ThreadPool pool, int64_t pieces, const Piece& piece) {
  struct Progress {
    std::atomic<int64_t> next{0}, done{0};
  };
  auto progress = std::make_shared<Progress>();
  auto work = [progress, pieces, &piece] {
    for (int64_t i; (i = progress->next.fetch_add(1)) < pieces;) {
      piece(i);
      progress->done.fetch_add(1);
    }
  };
  const int64_t helpers = std::min<int64_t>(pool.num_threads(), pieces) - 1;
  for (int64_t i = 0; i < helpers; ++i) pool.Schedule(decltype(work)(work));
  work();
  while (progress->done.load() < pieces) std::this_thread::yield();
}

using Floats = ffi::Buffer<ffi::F32>;
using Result = ffi::ResultBuffer<ffi::F32>;
using Dimensions = ffi::Span<const int64_t>;

// Elements of the axes before the last `kept`.
inline int64_t Before(Dimensions dimensions, size_t kept) {
  int64_t count = 1;
  for (size_t i = 0; i + kept < dimensions.size(); ++i) count *= dimensions[i];
  return count;
}

}  // namespace jaxnas

#define JAXNAS_BINDING        \
  ffi::Ffi::Bind()            \
      .Ctx<ffi::ThreadPool>() \
      .Arg<Floats>()          \
      .Arg<Floats>()          \
      .Ret<Floats>()          \
      .Attr<int64_t>("stride")

#endif  // JAXNAS_NATIVE_PIECES_H_
