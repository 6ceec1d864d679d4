// A client for what scraping is made of: GETs of http:// URLs whose host is an address, kept-alive connections, one
// after the other. Everything else, and every reply that is out of the ordinary, goes to the libcurl client.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <queue>
#include <set>
#include <span>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "http/client.h"
#include "http/outgoing.h"
#include "http/reply_reader.h"

namespace tidewright::http {
namespace {

constexpr int64_t kNanosPerMs = 1'000'000;
constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
constexpr size_t kInputBytes = 128u << 10;
constexpr size_t kHeadBytes = 4u << 10;  // More than the head of a reply usually takes.
// A peer that sends faster than we read lets others have their turn after so many reads.
constexpr int kReadsPerTurn = 16;
constexpr size_t kMaxIdleConnections = 4096;
constexpr int64_t kMaxIdleNs = 180'000 * kNanosPerMs;
// Servers whose replies libcurl has to read; beyond so many all are forgotten and found out again.
constexpr size_t kMaxUnusual = 1024;
// Beyond so many all are forgotten and made again.
constexpr size_t kMaxPlans = 4096;
// Memory of bodies kept for the next ones.
constexpr size_t kMaxSpareBodies = 4;
constexpr size_t kMaxSpareBytes = 1u << 20;

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

struct Address {
  sockaddr_storage storage = {};
  socklen_t size = 0;
};

std::optional<Address> AddressOf(const Url& url) {
  Address address;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (inet_pton(AF_INET, url.host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(url.port);
    address.size = sizeof(*v4);
    return address;
  }
  if (inet_pton(AF_INET6, url.host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(url.port);
    address.size = sizeof(*v6);
    return address;
  }
  return std::nullopt;
}

using Done = std::function<void(base::Result<Response>)>;

// What follows from a request's URL and headers, which are the same again and again.
struct Plan {
  Headers headers;
  bool accept_gzip = false;
  Address address;
  std::string server;  // Authority of the URL.
  std::string label;
  std::string bytes;  // Of the request.

  bool Serves(const ClientRequest& request) const {
    return accept_gzip == request.accept_gzip &&
           std::equal(headers.begin(), headers.end(), request.headers.begin(), request.headers.end());
  }
};

// One request and its reply.
struct Exchange {
  uint64_t id = 0;
  ClientRequest request;
  std::shared_ptr<const Plan> plan;
  size_t sent = 0;
  int64_t deadline_ns = kNever;
  Done done;
  std::unique_ptr<ReplyReader> reader;
};

struct Connection {
  Descriptor socket;
  std::string server;
  bool connecting = false;
  bool reused = false;   // Has carried an exchange before the one at hand.
  bool writing = false;  // epoll says when it can be written to.
  int64_t idle_since_ns = 0;
  // Held by whoever begins an exchange until it has sent what it could, and by the client's thread while it goes on
  // with one. Taken behind the client's lock or alone.
  base::Mutex turn;
  std::unique_ptr<Exchange> exchange;  // Null while idle.
};

std::string RequestBytes(const Outgoing& outgoing, const ClientRequest& request, const std::string& user_agent) {
  const Url& url = outgoing.url;
  std::string bytes = "GET " + url.path + (url.query.empty() ? "" : "?" + url.query) + " HTTP/1.1\r\n";
  auto add = [&bytes](std::string_view name, std::string_view value) {
    bytes.append(name).append(": ").append(value).append("\r\n");
  };
  if (!outgoing.headers.Has("Host")) add("Host", url.Authority());
  if (!outgoing.headers.Has("User-Agent") && !user_agent.empty()) add("User-Agent", user_agent);
  if (!outgoing.headers.Has("Accept")) add("Accept", "*/*");
  if (request.accept_gzip && !outgoing.headers.Has("Accept-Encoding")) add("Accept-Encoding", "gzip");
  for (const auto& [name, value] : outgoing.headers) add(name, value);
  return bytes + "\r\n";
}

// Whether this client can carry it, as far as its headers do not matter.
bool IsSimple(const ClientRequest& request) {
  const bool timed = request.total_timeout_ms > 0 && request.idle_timeout_ms <= 0 &&
                     request.connect_timeout_ms >= request.total_timeout_ms;
  return timed && request.method == "GET" && request.body.empty();
}

bool HasSimpleHeaders(const ClientRequest& request) {
  for (const char* name : {"Connection", "Content-Length", "Expect", "TE", "Transfer-Encoding", "Upgrade"}) {
    if (request.headers.Has(name)) return false;
  }
  return true;
}

// Once nobody sends it any more.
std::unique_ptr<Exchange> TakeExchange(Connection* connection) {
  base::MutexLock turn(connection->turn);
  return std::move(connection->exchange);
}

std::string ErrorText(int error) { return std::system_category().message(error); }

class PlainClient : public Client {
 public:
  PlainClient(ClientOptions options, Descriptor epoll, Descriptor wake);
  ~PlainClient() override;

  base::Result<Response> Send(const ClientRequest& request, CancelToken* cancel) override;
  base::Status Stream(const ClientRequest& request, const StreamHandler& handler, CancelToken* cancel) override;
  void SendAsync(ClientRequest request, Done done) override;
  void Recycle(std::string body) override;

 private:
  using Deadline = std::pair<int64_t, uint64_t>;  // And the exchange; it may have ended before.

  // Any thread.
  base::Result<Client*> Complete();
  void SendComplete(ClientRequest request, Done done);
  base::Result<std::shared_ptr<const Plan>> PlanFor(const ClientRequest& request);
  void Start(std::unique_ptr<Exchange> exchange);
  base::Status Assign(std::unique_ptr<Exchange>* exchange);
  base::Result<Connection*> Connect(const Exchange& exchange) REQUIRES_LOCK(mu_);
  Connection* TakeIdle(const std::string& server) REQUIRES_LOCK(mu_);
  base::Status Write(Connection* connection);
  void Wake();
  std::string SpareBody();
  // What deadlines are told by. It stands still while a callback holds the client's thread, so that no exchange fails
  // because another one's reply took long to be dealt with.
  int64_t NowNs() const { return base::MonotonicNanos() - held_ns_.load(std::memory_order_relaxed); }

  // The client's thread.
  void Run();
  int WaitMs();
  void EndOverdue();
  void OnEvent(Connection* connection, uint32_t events);
  base::Status Advance(Connection* connection, uint32_t events);
  base::Status Read(Connection* connection);
  void Keep(Connection* connection) REQUIRES_LOCK(mu_);
  void CloseOldIdle(int64_t now_ns) REQUIRES_LOCK(mu_);
  void CloseIdle(Connection* connection) REQUIRES_LOCK(mu_);
  void End(std::unique_ptr<Exchange> exchange, const base::Status& status);
  void HandOver(std::unique_ptr<Exchange> exchange);
  void EndAll();

  const ClientOptions options_;
  const Descriptor epoll_;
  const Descriptor wake_;

  base::Mutex complete_mu_;
  std::unique_ptr<Client> complete_ GUARDED_BY(complete_mu_);  // Made when it is needed.

  // An idle connection is under the lock; one with an exchange belongs to the client's thread, when it has its turn.
  base::Mutex mu_;
  uint64_t next_id_ GUARDED_BY(mu_) = 1;
  std::unordered_map<Connection*, std::unique_ptr<Connection>> connections_ GUARDED_BY(mu_);
  std::unordered_map<std::string, std::vector<Connection*>> idle_ GUARDED_BY(mu_);
  std::unordered_map<uint64_t, Connection*> busy_ GUARDED_BY(mu_);
  std::priority_queue<Deadline, std::vector<Deadline>, std::greater<>> deadlines_ GUARDED_BY(mu_);
  int64_t sleeps_until_ns_ GUARDED_BY(mu_) = 0;
  int64_t idle_checked_ns_ GUARDED_BY(mu_) = 0;
  std::unordered_set<std::string> unusual_ GUARDED_BY(mu_);  // Servers that are left to libcurl.
  std::unordered_map<std::string, std::shared_ptr<const Plan>> plans_ GUARDED_BY(mu_);  // By URL.
  bool stopping_ GUARDED_BY(mu_) = false;

  base::Mutex spare_mu_;
  std::vector<std::string> spare_bodies_ GUARDED_BY(spare_mu_);

  std::vector<char> input_;           // The client's thread's.
  std::atomic<int64_t> held_ns_ = 0;  // Written by the client's thread.
  std::thread thread_;
};

PlainClient::PlainClient(ClientOptions options, Descriptor epoll, Descriptor wake)
    : options_(std::move(options)), epoll_(std::move(epoll)), wake_(std::move(wake)), input_(kInputBytes) {
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "http-plain");
    Run();
  });
}

PlainClient::~PlainClient() {
  {
    base::MutexLock lock(mu_);
    stopping_ = true;
  }
  Wake();
  thread_.join();
}

base::Result<Client*> PlainClient::Complete() {
  base::MutexLock lock(complete_mu_);
  if (complete_ == nullptr) {
    TW_ASSIGN_OR_RETURN(complete_, NewCurlClient(options_));
  }
  return complete_.get();
}

base::Result<Response> PlainClient::Send(const ClientRequest& request, CancelToken* cancel) {
  TW_ASSIGN_OR_RETURN(Client * complete, Complete());
  return complete->Send(request, cancel);
}

base::Status PlainClient::Stream(const ClientRequest& request, const StreamHandler& handler, CancelToken* cancel) {
  TW_ASSIGN_OR_RETURN(Client * complete, Complete());
  return complete->Stream(request, handler, cancel);
}

void PlainClient::SendComplete(ClientRequest request, Done done) {
  auto complete = Complete();
  if (!complete.ok()) return done(complete.status());
  (*complete)->SendAsync(std::move(request), std::move(done));
}

void PlainClient::SendAsync(ClientRequest request, Done done) {
  if (!IsSimple(request)) return SendComplete(std::move(request), std::move(done));
  auto plan = PlanFor(request);
  if (!plan.ok()) return done(plan.status());
  if (*plan == nullptr) return SendComplete(std::move(request), std::move(done));
  auto exchange = std::make_unique<Exchange>();
  exchange->plan = *std::move(plan);
  exchange->deadline_ns = NowNs() + request.total_timeout_ms * kNanosPerMs;
  exchange->request = std::move(request);
  exchange->done = std::move(done);
  Start(std::move(exchange));
}

// Null for what is libcurl's.
base::Result<std::shared_ptr<const Plan>> PlainClient::PlanFor(const ClientRequest& request) {
  {
    base::MutexLock lock(mu_);
    auto known = plans_.find(request.url);
    if (known != plans_.end() && known->second->Serves(request)) return known->second;
  }
  const std::shared_ptr<const Plan> none;
  if (!HasSimpleHeaders(request)) return none;
  TW_ASSIGN_OR_RETURN(Outgoing outgoing, PrepareRequest(request));
  auto address = outgoing.url.scheme == "http" ? AddressOf(outgoing.url) : std::nullopt;
  if (!address) return none;
  auto plan = std::make_shared<Plan>();
  plan->headers = request.headers;
  plan->accept_gzip = request.accept_gzip;
  plan->address = *address;
  plan->server = outgoing.url.Authority();
  plan->bytes = RequestBytes(outgoing, request, options_.user_agent);
  plan->label = std::move(outgoing.label);
  base::MutexLock lock(mu_);
  if (unusual_.count(plan->server) > 0) return none;
  if (plans_.size() >= kMaxPlans) plans_.clear();
  plans_[request.url] = plan;
  return std::shared_ptr<const Plan>(std::move(plan));
}

void PlainClient::Recycle(std::string body) {
  if (body.capacity() > kMaxSpareBytes || body.capacity() <= sizeof(std::string)) return;
  base::MutexLock lock(spare_mu_);
  if (spare_bodies_.size() < kMaxSpareBodies) spare_bodies_.push_back(std::move(body));
}

std::string PlainClient::SpareBody() {
  base::MutexLock lock(spare_mu_);
  if (spare_bodies_.empty()) return "";
  std::string body = std::move(spare_bodies_.back());
  spare_bodies_.pop_back();
  return body;
}

// Begins an exchange, or begins it again.
void PlainClient::Start(std::unique_ptr<Exchange> exchange) {
  ReplyReader::Options options;
  options.max_body_bytes = exchange->request.max_body_bytes;
  options.inflate = exchange->request.accept_gzip;
  options.buffer = [this] { return SpareBody(); };
  exchange->reader = std::make_unique<ReplyReader>(std::move(options));
  exchange->sent = 0;
  base::Status status = Assign(&exchange);
  if (!status.ok()) End(std::move(exchange), status);
}

// Gives an exchange a connection, from then on the client's thread has both. Sending here saves waking that thread. It
// is done without the client's lock, because it wakes the peer, which may be quick to take this thread's processor, or
// to answer.
base::Status PlainClient::Assign(std::unique_ptr<Exchange>* exchange) {
  Connection* connection = nullptr;
  bool wake = false;
  {
    base::MutexLock lock(mu_);
    if (stopping_) return base::CancelledError("the client is closing");
    connection = TakeIdle((*exchange)->plan->server);
    if (connection == nullptr) {
      TW_ASSIGN_OR_RETURN(connection, Connect(**exchange));
    }
    if ((*exchange)->id == 0) (*exchange)->id = next_id_++;
    const int64_t deadline_ns = (*exchange)->deadline_ns;
    deadlines_.emplace(deadline_ns, (*exchange)->id);
    busy_[(*exchange)->id] = connection;
    wake = deadline_ns < sleeps_until_ns_;
    connection->turn.Lock();
    connection->exchange = std::move(*exchange);
  }
  // An error shows again on the client's thread, which is told of it by epoll.
  if (!connection->connecting) static_cast<void>(Write(connection).ok());
  connection->turn.Unlock();
  if (wake) Wake();
  return base::Status::Ok();
}

Connection* PlainClient::TakeIdle(const std::string& server) {
  auto idle = idle_.find(server);
  if (idle == idle_.end()) return nullptr;
  Connection* connection = idle->second.back();
  idle->second.pop_back();
  if (idle->second.empty()) idle_.erase(idle);
  return connection;
}

base::Result<Connection*> PlainClient::Connect(const Exchange& exchange) {
  auto fail = [&exchange](const char* what) {
    return base::UnavailableError(std::string(what) + " " + exchange.plan->server + ": " + ErrorText(errno));
  };
  const auto* address = reinterpret_cast<const sockaddr*>(&exchange.plan->address.storage);
  auto connection = std::make_unique<Connection>();
  connection->server = exchange.plan->server;
  connection->socket = Descriptor(socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int fd = connection->socket.get();
  if (fd < 0) return fail("could not make a socket for");
  const int on = 1, probe_after_seconds = 60;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &probe_after_seconds, sizeof(probe_after_seconds));
  if (connect(fd, address, exchange.plan->address.size) != 0) {
    if (errno != EINPROGRESS) return fail("could not connect to");
    connection->connecting = connection->writing = true;
  }
  epoll_event event = {};
  event.events = EPOLLIN | (connection->writing ? uint32_t{EPOLLOUT} : 0);
  event.data.ptr = connection.get();
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return fail("could not wait for");
  Connection* added = connection.get();
  connections_.emplace(added, std::move(connection));
  return added;
}

// Sends what the socket takes of the request.
base::Status PlainClient::Write(Connection* connection) {
  Exchange& exchange = *connection->exchange;
  const std::string& bytes = exchange.plan->bytes;
  while (exchange.sent < bytes.size()) {
    const ssize_t sent =
        send(connection->socket.get(), bytes.data() + exchange.sent, bytes.size() - exchange.sent, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (sent < 0) return base::UnavailableError("could not send the request: " + ErrorText(errno));
    exchange.sent += static_cast<size_t>(sent);
  }
  const bool rest = exchange.sent < bytes.size();
  if (rest == connection->writing) return base::Status::Ok();
  connection->writing = rest;
  epoll_event event = {};
  event.events = EPOLLIN | (rest ? uint32_t{EPOLLOUT} : 0);
  event.data.ptr = connection;
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection->socket.get(), &event);
  return base::Status::Ok();
}

void PlainClient::Wake() {
  const uint64_t one = 1;
  // Fails only when it has been woken very often already.
  [[maybe_unused]] const ssize_t written = write(wake_.get(), &one, sizeof(one));
}

void PlainClient::Run() {
  std::array<epoll_event, 64> events;
  while (true) {
    const int wait_ms = WaitMs();
    if (wait_ms < 0) return EndAll();
    const int ready = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), wait_ms);
    for (int i = 0; i < ready; ++i) {
      const epoll_event& event = events[static_cast<size_t>(i)];
      if (event.data.ptr != nullptr) {
        OnEvent(static_cast<Connection*>(event.data.ptr), event.events);
        continue;
      }
      uint64_t count = 0;
      [[maybe_unused]] const ssize_t got = read(wake_.get(), &count, sizeof(count));
    }
    EndOverdue();
  }
}

// How long nothing is to be done unless something happens; negative once the client closes. Deadlines of exchanges that
// have ended stay where they are: waking for one now and then costs less than being woken for each new one.
int PlainClient::WaitMs() {
  base::MutexLock lock(mu_);
  if (stopping_) return -1;
  const int64_t now = NowNs();
  sleeps_until_ns_ = deadlines_.empty() ? kNever : deadlines_.top().first;
  if (connections_.size() > busy_.size()) sleeps_until_ns_ = std::min(sleeps_until_ns_, idle_checked_ns_ + kMaxIdleNs);
  constexpr int64_t kLongest = 3'600'000;
  if (sleeps_until_ns_ == kNever) return kLongest;
  return static_cast<int>(std::clamp<int64_t>((sleeps_until_ns_ - now) / kNanosPerMs + 1, 0, kLongest));
}

void PlainClient::EndOverdue() {
  std::vector<std::unique_ptr<Exchange>> overdue;
  {
    base::MutexLock lock(mu_);
    const int64_t now = NowNs();
    for (; !deadlines_.empty() && deadlines_.top().first <= now; deadlines_.pop()) {
      auto busy = busy_.find(deadlines_.top().second);
      if (busy == busy_.end()) continue;
      overdue.push_back(TakeExchange(busy->second));
      connections_.erase(busy->second);
      busy_.erase(busy);
    }
    if (now >= idle_checked_ns_ + kMaxIdleNs) CloseOldIdle(now);
  }
  for (auto& exchange : overdue) {
    const base::Status status =
        base::DeadlineExceededError("timed out after " + std::to_string(exchange->request.total_timeout_ms) +
                                    " ms with " + std::to_string(exchange->reader->body_bytes()) + " bytes received");
    End(std::move(exchange), status);
  }
}

void PlainClient::OnEvent(Connection* connection, uint32_t events) {
  {
    base::MutexLock lock(mu_);
    // The peer closed it, or talks without having been asked.
    if (connection->exchange == nullptr) return CloseIdle(connection);
  }
  base::Status status;
  {
    base::MutexLock turn(connection->turn);
    status = Advance(connection, events);
  }
  ReplyReader& reader = *connection->exchange->reader;
  if (status.ok() && !reader.done()) return;
  // The peer may have closed a kept connection just when the request was on its way.
  const bool again = status.code() == base::Code::kUnavailable && connection->reused && !reader.started();
  std::unique_ptr<Exchange> exchange;
  {
    base::MutexLock lock(mu_);
    exchange = std::move(connection->exchange);
    busy_.erase(exchange->id);
    if (status.ok() && reader.keep_alive() && !connection->writing) {
      Keep(connection);
    } else {
      connections_.erase(connection);
    }
  }
  again ? Start(std::move(exchange)) : End(std::move(exchange), status);
}

// Goes on with an exchange as far as possible.
base::Status PlainClient::Advance(Connection* connection, uint32_t events) {
  if (connection->connecting) {
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(connection->socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
      return base::UnavailableError("could not connect to " + connection->server + ": " + ErrorText(error));
    }
    if ((events & EPOLLOUT) == 0) return base::Status::Ok();
    connection->connecting = false;
  }
  if ((events & EPOLLOUT) != 0) TW_RETURN_IF_ERROR(Write(connection));
  return (events & ~static_cast<uint32_t>(EPOLLOUT)) != 0 ? Read(connection) : base::Status::Ok();
}

base::Status PlainClient::Read(Connection* connection) {
  ReplyReader& reader = *connection->exchange->reader;
  for (int turn = 0; turn < kReadsPerTurn; ++turn) {
    std::span<char> room = reader.BodyRoom();
    const bool direct = !room.empty();
    // Little at first: what follows the head need not be copied.
    if (!direct) room = std::span(input_).first(reader.started() ? input_.size() : kHeadBytes);
    const ssize_t got = recv(connection->socket.get(), room.data(), room.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return base::Status::Ok();
    if (got < 0) return base::UnavailableError("the connection was lost: " + ErrorText(errno));
    if (got == 0) return reader.End();
    const auto bytes = static_cast<size_t>(got);
    TW_RETURN_IF_ERROR(direct ? reader.TakeFromRoom(bytes) : reader.Feed({room.data(), bytes}));
    if (reader.done() || bytes < room.size()) return base::Status::Ok();
  }
  return base::Status::Ok();
}

void PlainClient::Keep(Connection* connection) {
  if (connections_.size() - busy_.size() > kMaxIdleConnections) {
    connections_.erase(connection);
    return;
  }
  connection->reused = true;
  connection->idle_since_ns = NowNs();
  idle_[connection->server].push_back(connection);
}

void PlainClient::CloseIdle(Connection* connection) {
  auto idle = idle_.find(connection->server);
  std::vector<Connection*>& same = idle->second;
  same.erase(std::find(same.begin(), same.end(), connection));
  if (same.empty()) idle_.erase(idle);
  connections_.erase(connection);
}

void PlainClient::CloseOldIdle(int64_t now_ns) {
  idle_checked_ns_ = now_ns;
  std::vector<Connection*> old;
  for (const auto& [server, connections] : idle_) {
    for (Connection* connection : connections) {
      if (now_ns - connection->idle_since_ns >= kMaxIdleNs) old.push_back(connection);
    }
  }
  for (Connection* connection : old) CloseIdle(connection);
}

void PlainClient::End(std::unique_ptr<Exchange> exchange, const base::Status& status) {
  if (status.code() == base::Code::kUnimplemented) return HandOver(std::move(exchange));
  if (!status.ok()) return exchange->done(status.Annotate(exchange->plan->label));
  Response response = exchange->reader->TakeResponse();
  const bool redirected = response.status / 100 == 3 && response.headers.Has("Location");
  if (redirected && exchange->request.max_redirects > 0) return HandOver(std::move(exchange));
  const int64_t began_ns = base::MonotonicNanos();
  exchange->done(std::move(response));
  held_ns_.fetch_add(base::MonotonicNanos() - began_ns, std::memory_order_relaxed);
}

// Lets libcurl ask again, in the time that is left, and from now on.
void PlainClient::HandOver(std::unique_ptr<Exchange> exchange) {
  {
    base::MutexLock lock(mu_);
    if (unusual_.size() >= kMaxUnusual) unusual_.clear();
    unusual_.insert(exchange->plan->server);
    plans_.erase(exchange->request.url);
  }
  const int64_t left_ms = (exchange->deadline_ns - NowNs()) / kNanosPerMs;
  exchange->request.total_timeout_ms = exchange->request.connect_timeout_ms = std::max<int64_t>(left_ms, 1);
  SendComplete(std::move(exchange->request), std::move(exchange->done));
}

void PlainClient::EndAll() {
  std::vector<std::unique_ptr<Exchange>> exchanges;
  {
    base::MutexLock lock(mu_);
    for (auto& [id, connection] : busy_) exchanges.push_back(TakeExchange(connection));
    busy_.clear();
    idle_.clear();
    connections_.clear();
  }
  for (auto& exchange : exchanges) End(std::move(exchange), base::CancelledError("the client is closing"));
}

}  // namespace

base::Result<std::unique_ptr<Client>> NewPollingClient(const ClientOptions& options) {
  const ClientTls& tls = options.tls;
  const bool has_tls = !tls.ca_pem.empty() || !tls.certificate_pem.empty() || !tls.private_key_pem.empty() ||
                       !tls.server_name.empty() || tls.insecure_skip_verify;
  const bool direct = options.proxy_url.empty() && !options.proxy_from_environment;
  if (has_tls || !direct || options.max_connections_per_host > 0 || !IsFieldValue(options.user_agent)) {
    return NewCurlClient(options);
  }
  Descriptor epoll(epoll_create1(EPOLL_CLOEXEC)), wake(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  epoll_event event = {};
  event.events = EPOLLIN;
  if (epoll.get() < 0 || wake.get() < 0 || epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0) {
    return base::UnavailableError("could not make an HTTP client: " + ErrorText(errno));
  }
  return std::unique_ptr<Client>(std::make_unique<PlainClient>(options, std::move(epoll), std::move(wake)));
}

}  // namespace tidewright::http
