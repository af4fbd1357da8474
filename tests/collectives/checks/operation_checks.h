// Every operation on every dtype at sizes around block, page and chunk edges, against exact values.
// For any communicator. Collective, all of them.
#ifndef MUSTER_TESTS_COLLECTIVES_CHECKS_OPERATION_CHECKS_H_
#define MUSTER_TESTS_COLLECTIVES_CHECKS_OPERATION_CHECKS_H_

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <vector>

#include "collectives/checks/exact_values.h"
#include "muster/collectives/communicator.h"

namespace muster::testing {

inline const std::vector<at::ScalarType> kReducibleDtypes = {
    at::kFloat, at::kDouble, at::kHalf, at::kBFloat16, at::kChar,
    at::kShort, at::kInt,    at::kLong, at::kByte,     at::kBool};
/// Many chunks, the last of them not whole.
inline std::int64_t large_size(at::ScalarType dtype) {
  constexpr std::int64_t kBytes = (std::int64_t{1} << 20) + 4096;
  return kBytes / static_cast<std::int64_t>(c10::elementSize(dtype)) + 1;
}

// --- One operation each, out of place and, where it can be, in place.

void check_all_reduce(Communicator& communicator, Memory memory, std::int64_t numel,
                      at::ScalarType dtype, bool in_place);
void check_reduce(Communicator& communicator, Memory memory, std::int64_t numel,
                  at::ScalarType dtype, bool in_place);
void check_reduce_scatter(Communicator& communicator, Memory memory, std::int64_t numel,
                          at::ScalarType dtype, bool in_place);
void check_canonical_all_reduce(Communicator& communicator, Memory memory, std::int64_t numel,
                                at::ScalarType dtype, int logical_ranks);
void check_canonical_reduce_scatter(Communicator& communicator, Memory memory, std::int64_t numel,
                                    at::ScalarType dtype, int logical_ranks, bool in_place);
void check_all_gather(Communicator& communicator, Memory memory, std::int64_t numel,
                      at::ScalarType dtype, bool in_place);
/// Rank r contributes r + 1 shares of `numel` elements, and rank 1 none.
void check_all_gather_counts(Communicator& communicator, Memory memory, std::int64_t numel,
                             at::ScalarType dtype);
void check_broadcast(Communicator& communicator, Memory memory, std::int64_t numel,
                     at::ScalarType dtype);
void check_scatter(Communicator& communicator, Memory memory, std::int64_t numel,
                   at::ScalarType dtype, bool in_place);
void check_gather(Communicator& communicator, Memory memory, std::int64_t numel,
                  at::ScalarType dtype, bool in_place);
void check_all_to_all(Communicator& communicator, Memory memory, std::int64_t numel,
                      at::ScalarType dtype);
/// Rank s gives rank r (s + 2 r) % 4 shares of `numel` elements.
void check_all_to_all_counts(Communicator& communicator, Memory memory, std::int64_t numel,
                             at::ScalarType dtype);
/// Everybody to everybody, all in flight together, two each.
void check_send_and_recv(Communicator& communicator, Memory memory, std::int64_t numel,
                         at::ScalarType dtype);

// --- Several.

/// Many operations in flight, waited for in another order than issued.
void check_asynchronous(Communicator& communicator);

/// Neighbours, and odd and even ranks in reverse order, in two communicators beside the whole.
void check_split(Communicator& communicator);

/// Reductions in `dtype` and movements of it, at sizes around the edges.
void check_operations_at(Communicator& communicator, Memory memory, std::int64_t numel,
                         at::ScalarType dtype);

void check_canonical_at(Communicator& communicator, Memory memory, std::int64_t numel,
                        at::ScalarType dtype, int logical_ranks);

void check_all_operations(Communicator& communicator, at::ScalarType dtype);

}  // namespace muster::testing

#endif  // MUSTER_TESTS_COLLECTIVES_CHECKS_OPERATION_CHECKS_H_
