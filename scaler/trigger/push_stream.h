// The stream by which an external scaler says that there is work, kept open. Private to scaler/trigger.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "http/grpc.h"
#include "scaler/trigger.h"

namespace tidewright::scaler::trigger {

// Opens StreamIsActive and opens it again after it has ended: after one second at first, then after twice as long each
// time, up to a minute, each a little different per object. There is no thread for that: the readings that it asks for
// open the stream. For one thread, that of the readings; borrows the clock.
class PushStream {
 public:
  PushStream(std::shared_ptr<http::GrpcClient> client, std::string server, std::string scaled_object_ref,
             const base::Clock& clock, Trigger::Hasten hasten);
  ~PushStream();

  // Opens the stream if it is time to.
  void Keep();
  // Whether the scaler said since the last Forget() that it is active.
  bool Activated() const;
  void Forget();
  // Why there is no stream, or "".
  std::string Failure() const;

 private:
  struct State;
  void Open();

  const std::shared_ptr<http::GrpcClient> client_;
  const std::string server_, ref_;
  const base::Clock& clock_;
  const std::shared_ptr<State> state_;  // Shared with the stream's callbacks.
  std::unique_ptr<http::GrpcStream> stream_;
};

}  // namespace tidewright::scaler::trigger
