// Queries of one block. Private to tsdb: made by Block::NewQuerier.
#pragma once

#include <cstdint>
#include <memory>

#include "tsdb/block_reader.h"
#include "tsdb/querier.h"

namespace tidewright::tsdb {

// Select() verifies the chunks that it hands out, so that damage fails the query instead of thinning out its answer.
std::unique_ptr<Querier> NewBlockQuerier(std::shared_ptr<const Block> block, int64_t mint, int64_t maxt);

// Walks chunks of one series, ascending and not overlapping, from mint to maxt, without the deleted intervals (may be
// null). Everything is borrowed. A chunk that cannot be decoded ends early.
std::unique_ptr<SampleIterator> NewChunksIterator(std::vector<ChunkView> chunks, const TimeIntervals* deleted,
                                                  int64_t mint, int64_t maxt);

}  // namespace tidewright::tsdb
