// The stream of what is wrong with the configuration.
#include "web/notification_feed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"

namespace tidewright::web {
namespace {

using base::Json;
using testing::ElementsAre;
using testing::IsEmpty;

// What one subscriber gets.
struct Subscriber : http::Responder, http::ResponseStream, std::enable_shared_from_this<Subscriber> {
  void Reply(http::Response response) override { status = response.status; }
  std::shared_ptr<http::ResponseStream> StartStream(int code, http::Headers h) override {
    status = code;
    headers = std::move(h);
    return shared_from_this();
  }
  bool Write(std::string_view piece) override {
    if (gone) return false;
    EXPECT_TRUE(piece.starts_with("data: ") && piece.ends_with("\n\n")) << piece;
    const Json event = Json::parse(piece.substr(6));
    events.push_back((event["active"] ? "+" : "-") + event["text"].get<std::string>() + " " +
                     event["date"].get<std::string>());
    return true;
  }
  void End() override { gone = true; }
  bool closed() const override { return gone; }

  int status = 0;
  http::Headers headers;
  std::vector<std::string> events;
  bool gone = false;
};

class NotificationFeedTest : public testing::Test {
 protected:
  std::shared_ptr<Subscriber> Subscribe() {
    auto subscriber = std::make_shared<Subscriber>();
    feed_.Subscribe({{"X-Frame-Options", "deny"}}, *subscriber);
    return subscriber;
  }

  std::vector<std::string> problems_;
  base::FakeClock clock_{1'700'000'000'000};
  NotificationFeed feed_{[this] { return problems_; }, clock_};
};

TEST_F(NotificationFeedTest, TellsWhatThereIsWhatComesAndWhatGoes) {
  problems_ = {"a"};
  auto first = Subscribe();
  EXPECT_EQ(first->status, 200);
  EXPECT_EQ(first->headers.Get("Content-Type"), "text/event-stream");
  EXPECT_EQ(first->headers.Get("X-Frame-Options"), "deny");
  EXPECT_THAT(first->events, ElementsAre("+a 2023-11-14T22:13:20.000Z"));
  clock_.Advance(1000);
  problems_ = {"b", "a"};
  feed_.Refresh();
  feed_.Refresh();
  problems_ = {"b"};
  feed_.Refresh();
  EXPECT_THAT(first->events,
              ElementsAre("+a 2023-11-14T22:13:20.000Z", "+b 2023-11-14T22:13:21.000Z", "-a 2023-11-14T22:13:20.000Z"));
  EXPECT_THAT(Subscribe()->events, ElementsAre("+b 2023-11-14T22:13:21.000Z"));
  EXPECT_EQ(feed_.Current(), Json::parse(R"([{"text": "b", "date": "2023-11-14T22:13:21.000Z", "active": true}])"));
}

TEST_F(NotificationFeedTest, TakesSoManySubscribersAndForgetsThoseThatHaveGone) {
  std::vector<std::shared_ptr<Subscriber>> all;
  for (size_t i = 0; i < NotificationFeed::kMaxSubscribers; ++i) all.push_back(Subscribe());
  EXPECT_EQ(all.back()->status, 200);
  EXPECT_EQ(Subscribe()->status, 204);
  all[3]->gone = true;
  EXPECT_EQ(Subscribe()->status, 200);
  problems_ = {"a"};
  feed_.Refresh();
  EXPECT_THAT(all[3]->events, IsEmpty());
  EXPECT_EQ(all[4]->events.size(), 1u);
  feed_.Close();
  EXPECT_TRUE(all[4]->gone);
}

}  // namespace
}  // namespace tidewright::web
