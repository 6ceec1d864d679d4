#include "http/reply.h"

#include <zlib.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <ctime>

#include "base/strings.h"
#include "http/outgoing.h"

namespace tidewright::http {
namespace {

bool IsSendable(int status, const Headers& headers) {
  if (status < 200 || status > 599) return false;
  for (const auto& [name, value] : headers) {
    if (!IsToken(name) || !IsFieldValue(value)) return false;
  }
  return true;
}

bool IsFraming(std::string_view name) {
  for (std::string_view own : {"Content-Length", "Transfer-Encoding", "Connection", "Date"}) {
    if (base::EqualsIgnoreCase(name, own)) return true;
  }
  return false;
}

bool WantsClose(const Headers& headers) { return base::EqualsIgnoreCase(headers.Get("Connection"), "close"); }

void AppendField(std::string_view name, std::string_view value, std::string* out) {
  out->append(name).append(": ").append(value).append("\r\n");
}

std::string BeginHead(int status, const Headers& headers, int64_t now_ms) {
  std::string out = "HTTP/1.1 " + std::to_string(status) + " ";
  out.append(ReasonPhrase(status)).append("\r\n");
  AppendField("Date", HttpDate(now_ms), &out);
  for (const auto& [name, value] : headers) {
    if (!IsFraming(name)) AppendField(name, value, &out);
  }
  return out;
}

void AppendConnection(const ReplyContext& context, bool close, std::string* out) {
  if (close) {
    AppendField("Connection", "close", out);
  } else if (context.http10) {
    AppendField("Connection", "keep-alive", out);
  }
}

Response UnsendableReply() {
  return {500, {{"Content-Type", "text/plain; charset=utf-8"}}, "the handler's reply is not valid HTTP\n"};
}

void Compress(const ReplyContext& context, Response* response) {
  if (response->body.size() < kCompressFromBytes || response->headers.Has("Content-Encoding")) return;
  if (response->headers.Get("Cache-Control").find("no-transform") != std::string::npos) return;
  response->headers.Add("Vary", "Accept-Encoding");
  if (!context.accepts_gzip) return;
  std::string compressed = Gzip(response->body);
  if (compressed.empty() || compressed.size() >= response->body.size()) return;
  response->body = std::move(compressed);
  response->headers.Add("Content-Encoding", "gzip");
}

}  // namespace

ReplyBytes EncodeReply(Response response, const ReplyContext& context, int64_t now_ms) {
  if (!IsSendable(response.status, response.headers)) response = UnsendableReply();
  bool bodiless = response.status == 204 || response.status == 304;
  if (bodiless) response.body.clear();
  Compress(context, &response);
  ReplyBytes bytes;
  bytes.close = !context.keep_alive || WantsClose(response.headers);
  bytes.head = BeginHead(response.status, response.headers, now_ms);
  if (!bodiless) AppendField("Content-Length", std::to_string(response.body.size()), &bytes.head);
  AppendConnection(context, bytes.close, &bytes.head);
  bytes.head.append("\r\n");
  if (context.head) return bytes;
  // One buffer, and so one TLS record and one segment, for short replies; no copy for long ones.
  if (response.body.size() < kCompressFromBytes) {
    bytes.head.append(response.body);
  } else {
    bytes.body = std::move(response.body);
  }
  return bytes;
}

ReplyBytes EncodeStreamHead(int status, const Headers& headers, const ReplyContext& context, int64_t now_ms,
                            bool* chunked) {
  *chunked = !context.http10;
  bool valid = IsSendable(status, headers);
  ReplyBytes bytes;
  bytes.close = !context.keep_alive || context.http10 || WantsClose(headers);
  bytes.head = BeginHead(valid ? status : 500, valid ? headers : Headers(), now_ms);
  if (*chunked) AppendField("Transfer-Encoding", "chunked", &bytes.head);
  AppendConnection(context, bytes.close, &bytes.head);
  bytes.head.append("\r\n");
  return bytes;
}

void AppendChunk(std::string_view piece, std::string* out) {
  std::array<char, 20> size;
  auto end = std::to_chars(size.data(), size.data() + size.size(), piece.size(), 16).ptr;
  out->append(size.data(), end).append("\r\n").append(piece).append("\r\n");
}

std::string HttpDate(int64_t now_ms) {
  // Not strftime: its names of days and months follow the locale.
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  auto seconds = static_cast<time_t>(now_ms / 1000);
  std::tm time = {};
  gmtime_r(&seconds, &time);
  std::array<char, 64> out;
  std::snprintf(out.data(), out.size(), "%s, %02d %s %04d %02d:%02d:%02d GMT", kDays[time.tm_wday], time.tm_mday,
                kMonths[time.tm_mon], time.tm_year + 1900, time.tm_hour, time.tm_min, time.tm_sec);
  return out.data();
}

std::string Gzip(std::string_view text) {
  z_stream stream = {};
  constexpr int kGzipWindow = 15 + 16;
  // Level 1: the other levels spend three times the CPU for a tenth fewer bytes of the text that we serve.
  if (deflateInit2(&stream, 1, Z_DEFLATED, kGzipWindow, 8, Z_DEFAULT_STRATEGY) != Z_OK) return "";
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  int result = text.size() > UINT32_MAX ? Z_BUF_ERROR : deflate(&stream, Z_FINISH);
  out.resize(result == Z_STREAM_END ? stream.total_out : 0);
  deflateEnd(&stream);
  return out;
}

}  // namespace tidewright::http
