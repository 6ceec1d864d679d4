#include "http/reply_reader.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "base/strings.h"

namespace tidewright::http {
namespace {

constexpr size_t kMaxShortLine = 1024;  // Status lines and those before chunks.
constexpr size_t kFirstBody = 16u << 10;
constexpr size_t kMostBelieved = 1u << 20;  // Of a promised length, before so much has come.

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

base::Status Malformed(const std::string& what) { return base::UnavailableError("the reply has a malformed " + what); }

base::Status Unusual(const std::string& what) { return base::UnimplementedError("the reply has " + what); }

// Whether a comma-separated field has this item.
bool HasItem(const Headers& headers, std::string_view name, std::string_view item) {
  for (const auto& [field, value] : headers) {
    if (!base::EqualsIgnoreCase(field, name)) continue;
    for (const std::string& one : base::Split(value, ',')) {
      if (base::EqualsIgnoreCase(base::TrimSpace(one), item)) return true;
    }
  }
  return false;
}

int HexDigit(char c) {
  if (IsDigit(c)) return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

}  // namespace

void ReplyReader::InflateEnd::operator()(z_stream* stream) const {
  inflateEnd(stream);
  delete stream;
}

base::Status ReplyReader::Feed(std::string_view bytes) {
  started_ = started_ || !bytes.empty();
  while (!bytes.empty() && !done()) TW_RETURN_IF_ERROR(Step(&bytes));
  if (!bytes.empty()) keep_alive_ = false;  // What follows is no answer to anything.
  return base::Status::Ok();
}

std::span<char> ReplyReader::BodyRoom() {
  if (state_ != State::kLength || gzip_ != nullptr) return {};
  const size_t wanted = std::min<uint64_t>(left_, kMostBelieved);
  Reserve(wanted, /*all=*/true);
  return {response_.body.data() + used_, wanted};
}

base::Status ReplyReader::TakeFromRoom(size_t bytes) {
  used_ += bytes;
  left_ -= bytes;
  return left_ > 0 ? base::Status::Ok() : Finish();
}

base::Status ReplyReader::End() {
  if (state_ == State::kUntilClose) return Finish();
  if (!started_) return base::UnavailableError("the connection was closed without a reply: Empty reply");
  const bool head = state_ == State::kStatusLine || state_ == State::kHeaders;
  return base::UnavailableError(head ? "the connection was closed within the head of the reply"
                                     : "the connection was closed after " + std::to_string(used_) +
                                           " bytes of the body, before its end");
}

Response ReplyReader::TakeResponse() {
  response_.body.resize(used_);
  return std::move(response_);
}

// Takes some bytes: a line, a part of one, or a part of the body.
base::Status ReplyReader::Step(std::string_view* bytes) {
  const bool of_body = state_ == State::kLength || state_ == State::kUntilClose || state_ == State::kChunk;
  if (of_body) return TakeBody(bytes);
  const bool of_head = state_ == State::kHeaders || state_ == State::kTrailers;
  bool complete = false;
  // Those of headers count together.
  const size_t limit = of_head ? std::numeric_limits<size_t>::max() : kMaxShortLine;
  TW_RETURN_IF_ERROR(TakeLine(bytes, limit, &complete));
  if (!complete) return base::Status::Ok();
  base::Status status;
  switch (state_) {
    case State::kStatusLine: status = ParseStatusLine(); break;
    case State::kHeaders: status = ParseHeader(); break;
    case State::kChunkLine: status = ParseChunkLine(); break;
    case State::kChunkEnd: status = ParseLineEnd(); break;
    default: status = line_.empty() ? Finish() : base::Status::Ok(); break;  // Trailers are not kept.
  }
  line_.clear();
  return status;
}

// Moves bytes up to the end of the line at hand into `line_`.
base::Status ReplyReader::TakeLine(std::string_view* bytes, size_t limit, bool* complete) {
  const size_t end = bytes->find('\n');
  const size_t taken = end == std::string_view::npos ? bytes->size() : end + 1;
  if (taken > limit - line_.size()) return Malformed("line: it is too long");
  const bool of_chunk = state_ == State::kChunkLine || state_ == State::kChunkEnd;
  if (!of_chunk) header_bytes_ += taken;
  if (header_bytes_ > kMaxReplyHeaderBytes) {
    return base::ResourceExhaustedError("the reply's headers exceed " + std::to_string(kMaxReplyHeaderBytes) +
                                        " bytes");
  }
  line_.append(bytes->substr(0, std::min(end, bytes->size())));
  bytes->remove_prefix(taken);
  *complete = end != std::string_view::npos;
  if (*complete && !line_.empty() && line_.back() == '\r') line_.pop_back();
  return base::Status::Ok();
}

// "HTTP/1.1 200 OK"
base::Status ReplyReader::ParseStatusLine() {
  const std::string_view line = line_;
  const bool http1 = line.size() >= 12 && line.substr(0, 7) == "HTTP/1." && IsDigit(line[7]) && line[8] == ' ' &&
                     line[9] >= '1' && line[9] <= '9' && IsDigit(line[10]) && IsDigit(line[11]) &&
                     (line.size() == 12 || line[12] == ' ');
  if (!http1) return Malformed("status line: this is not HTTP/1");
  response_.status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
  keep_alive_ = line[7] != '0';
  state_ = State::kHeaders;
  return base::Status::Ok();
}

base::Status ReplyReader::ParseHeader() {
  if (line_.empty()) return EndHead();
  const std::string_view line = line_;
  if (line[0] == ' ' || line[0] == '\t') return Unusual("a header of several lines");
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0) return Malformed("header line");
  response_.headers.Add(std::string(line.substr(0, colon)), std::string(base::TrimSpace(line.substr(colon + 1))));
  return base::Status::Ok();
}

base::Status ReplyReader::EndHead() {
  if (response_.status == 101) return Unusual("another protocol after it");
  if (response_.status < 200) {  // An interim reply; the one that counts follows.
    response_ = Response();
    state_ = State::kStatusLine;
    return base::Status::Ok();
  }
  if (HasItem(response_.headers, "Connection", "close")) keep_alive_ = false;
  if (response_.status == 204 || response_.status == 304) return Finish();
  TW_RETURN_IF_ERROR(ChooseDecoding());
  return ChooseFraming();
}

base::Status ReplyReader::ChooseFraming() {
  const std::vector<std::string> encodings = response_.headers.GetAll("Transfer-Encoding");
  const std::vector<std::string> lengths = response_.headers.GetAll("Content-Length");
  if (!encodings.empty()) {
    const bool chunked = encodings.size() == 1 && base::EqualsIgnoreCase(encodings[0], "chunked");
    if (!chunked || !lengths.empty()) return Unusual("an unusual Transfer-Encoding");
    state_ = State::kChunkLine;
    return base::Status::Ok();
  }
  if (lengths.empty()) {
    keep_alive_ = false;
    state_ = State::kUntilClose;
    return base::Status::Ok();
  }
  int64_t length = 0;
  const bool digits = !lengths[0].empty() && std::all_of(lengths[0].begin(), lengths[0].end(), IsDigit);
  if (lengths.size() > 1 || !digits || !base::ParseInt64(lengths[0], &length)) return Malformed("Content-Length");
  left_ = static_cast<uint64_t>(length);
  if (gzip_ == nullptr && left_ > options_.max_body_bytes) return TooLong();
  state_ = State::kLength;
  return left_ == 0 ? Finish() : base::Status::Ok();
}

base::Status ReplyReader::ChooseDecoding() {
  const std::vector<std::string> encodings = response_.headers.GetAll("Content-Encoding");
  if (!options_.inflate || encodings.empty()) return base::Status::Ok();
  if (encodings.size() == 1 && base::EqualsIgnoreCase(encodings[0], "identity")) return base::Status::Ok();
  if (encodings.size() > 1 || !base::EqualsIgnoreCase(encodings[0], "gzip")) return Unusual("a Content-Encoding");
  auto stream = std::make_unique<z_stream>();
  *stream = {};
  if (inflateInit2(stream.get(), 15 + 16) != Z_OK) return base::ResourceExhaustedError("no memory to inflate a reply");
  gzip_.reset(stream.release());
  return base::Status::Ok();
}

// "1a0;extension=1"
base::Status ReplyReader::ParseChunkLine() {
  uint64_t size = 0;
  size_t digits = 0;
  for (; digits < line_.size() && HexDigit(line_[digits]) >= 0; ++digits) {
    if (size >> 59 != 0) return Malformed("chunk size");
    size = size * 16 + static_cast<uint64_t>(HexDigit(line_[digits]));
  }
  const bool extension =
      digits < line_.size() && (line_[digits] == ';' || line_[digits] == ' ' || line_[digits] == '\t');
  if (digits == 0 || (digits < line_.size() && !extension)) return Malformed("chunk size");
  if (gzip_ == nullptr && size > options_.max_body_bytes - used_) return TooLong();
  left_ = size;
  state_ = size == 0 ? State::kTrailers : State::kChunk;
  return base::Status::Ok();
}

base::Status ReplyReader::ParseLineEnd() {
  if (!line_.empty()) return Malformed("chunk: it is longer than it says");
  state_ = State::kChunkLine;
  return base::Status::Ok();
}

base::Status ReplyReader::TakeBody(std::string_view* bytes) {
  const bool counted = state_ != State::kUntilClose;
  const std::string_view piece = counted ? bytes->substr(0, std::min<uint64_t>(left_, bytes->size())) : *bytes;
  bytes->remove_prefix(piece.size());
  if (gzip_ != nullptr) {
    TW_RETURN_IF_ERROR(Inflate(piece));
  } else {
    if (piece.size() > options_.max_body_bytes - used_) return TooLong();
    Reserve(counted ? std::max(piece.size(), std::min<size_t>(left_, kMostBelieved)) : piece.size(), counted);
    std::memcpy(response_.body.data() + used_, piece.data(), piece.size());
    used_ += piece.size();
  }
  if (!counted) return base::Status::Ok();
  left_ -= piece.size();
  if (left_ > 0) return base::Status::Ok();
  if (state_ == State::kLength) return Finish();
  state_ = State::kChunkEnd;
  return base::Status::Ok();
}

base::Status ReplyReader::Inflate(std::string_view bytes) {
  if (gzip_ended_) return bytes.empty() ? base::Status::Ok() : Malformed("gzip body: unencoding it leaves a rest");
  gzip_->next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  gzip_->avail_in = static_cast<uInt>(bytes.size());
  while (gzip_->avail_in > 0 && !gzip_ended_) {
    if (used_ == options_.max_body_bytes) return TooLong();
    Reserve(1, /*all=*/false);
    const size_t room = std::min(response_.body.size(), options_.max_body_bytes) - used_;
    gzip_->next_out = reinterpret_cast<Bytef*>(response_.body.data() + used_);
    gzip_->avail_out = static_cast<uInt>(std::min<size_t>(room, std::numeric_limits<uInt>::max()));
    const uInt before = gzip_->avail_out;
    const int result = inflate(gzip_.get(), Z_NO_FLUSH);
    used_ += before - gzip_->avail_out;
    if (result == Z_STREAM_END) gzip_ended_ = true;
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
      return Malformed("gzip body: unencoding it failed");
    }
  }
  return gzip_->avail_in == 0 ? base::Status::Ok() : Malformed("gzip body: unencoding it leaves a rest");
}

base::Status ReplyReader::TooLong() const {
  return base::ResourceExhaustedError("the reply's body exceeds " + std::to_string(options_.max_body_bytes) + " bytes");
}

base::Status ReplyReader::Finish() {
  if (gzip_ != nullptr && !gzip_ended_ && (state_ != State::kHeaders || left_ > 0)) {
    return Malformed("gzip body: unencoding it ends too early");
  }
  gzip_.reset();
  state_ = State::kDone;
  return base::Status::Ok();
}

// Makes room for `more` bytes; `all` says that hardly more will follow. The body's string is kept longer than what is
// used of it, because resizing it writes zeros.
void ReplyReader::Reserve(size_t more, bool all) {
  if (!std::exchange(has_buffer_, true)) response_.body = options_.buffer();
  const size_t size = response_.body.size(), capacity = response_.body.capacity();
  if (size - used_ >= more) return;
  if (all && used_ + more <= capacity) return response_.body.resize(used_ + more);
  // Doubled, not to copy too often; of a promised length no more than what TakeBody() believes.
  const size_t wanted = std::max({used_ + more, std::min(capacity, used_ + more + kFirstBody), kFirstBody});
  if (wanted > capacity) response_.body.reserve(std::max(wanted, capacity * 2));
  response_.body.resize(std::max(wanted, std::min(response_.body.capacity(), size * 2)));
}

}  // namespace tidewright::http
