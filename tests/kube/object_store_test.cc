#include "kube/object_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "base/json.h"

namespace tidewright::kube {
namespace {

ObjectStore::ObjectPtr Pod(const std::string& ns, const std::string& name,
                           const std::map<std::string, std::string>& labels) {
  return std::make_shared<const base::Json>(
      base::Json{{"metadata", {{"name", name}, {"namespace", ns}, {"labels", labels}}}});
}

std::vector<std::string> Names(const std::vector<ObjectStore::ObjectPtr>& objects) {
  std::vector<std::string> names;
  for (const auto& object : objects) names.push_back(KeyOf(*object));
  return names;
}

void Put(ObjectStore& store, const ObjectStore::ObjectPtr& object) { store.Put(KeyOf(*object), object); }

struct MatchingCase {
  const char* ns;
  const char* selector;
  std::vector<std::string> want;
};

TEST(ObjectStoreTest, ListMatching) {
  ObjectStore store;
  Put(store, Pod("a", "web-1", {{"app", "web"}, {"tier", "x"}}));
  Put(store, Pod("a", "web-2", {{"app", "web"}}));
  Put(store, Pod("a", "db", {{"app", "db"}}));
  Put(store, Pod("a-b", "web", {{"app", "web"}}));
  Put(store, Pod("b", "bare", {}));
  for (const MatchingCase& row : {
           MatchingCase{"a", "app=web", {"a/web-1", "a/web-2"}},
           MatchingCase{"a", "app in (web)", {"a/web-1", "a/web-2"}},
           MatchingCase{"a", "app in (web,db)", {"a/db", "a/web-1", "a/web-2"}},
           MatchingCase{"a", "app=web,tier=x", {"a/web-1"}},
           MatchingCase{"a", "app=web,!tier", {"a/web-2"}},
           MatchingCase{"", "app=web", {"a-b/web", "a/web-1", "a/web-2"}},
           MatchingCase{"", "!app", {"b/bare"}},
           MatchingCase{"a", "", {"a/db", "a/web-1", "a/web-2"}},
           MatchingCase{"a", "app=nothing", {}},
           MatchingCase{"nowhere", "app=web", {}},
       }) {
    EXPECT_EQ(Names(store.ListMatching(row.ns, *LabelSelector::Parse(row.selector))), row.want)
        << row.ns << " " << row.selector;
    std::vector<std::string> names;
    for (const std::string& key : row.want) names.push_back(key.substr(key.find('/') + 1));
    std::sort(names.begin(), names.end());
    NameListPtr list = store.NamesMatching(row.ns, *LabelSelector::Parse(row.selector), nullptr);
    EXPECT_EQ(list->names, names) << row.ns << " " << row.selector;
    EXPECT_EQ(store.NamesMatching(row.ns, *LabelSelector::Parse(row.selector), list), list);
  }
}

TEST(ObjectStoreTest, TheIndexFollowsChangesOfLabels) {
  ObjectStore store;
  auto web = *LabelSelector::Parse("app=web");
  Put(store, Pod("a", "x", {{"app", "web"}}));
  Put(store, Pod("a", "x", {{"app", "db"}}));
  EXPECT_TRUE(store.ListMatching("a", web).empty());
  Put(store, Pod("a", "x", {{"app", "web"}}));
  EXPECT_EQ(store.ListMatching("a", web).size(), 1U);
  EXPECT_NE(store.Erase("a/x"), nullptr);
  EXPECT_EQ(store.Erase("a/x"), nullptr);
  EXPECT_TRUE(store.ListMatching("a", web).empty());
  EXPECT_EQ(store.size(), 0U);
}

TEST(ObjectStoreTest, NameListsHoldUntilTheirObjectsChange) {
  ObjectStore store;
  auto web = *LabelSelector::Parse("app=web");
  auto quiet = *LabelSelector::Parse("app=web,!tier");
  auto all = *LabelSelector::Parse("");
  NameListPtr none = store.NamesMatching("a", web, nullptr);
  EXPECT_EQ(store.NamesMatching("a", web, none), none);
  Put(store, Pod("a", "x", {{"app", "web"}}));
  NameListPtr names = store.NamesMatching("a", web, none);
  EXPECT_THAT(names->names, testing::ElementsAre("x"));
  NameListPtr everything = store.NamesMatching("a", all, nullptr);

  Put(store, Pod("a", "x", {{"app", "web"}}));  // Another version of it.
  EXPECT_EQ(store.NamesMatching("a", all, everything), everything);
  Put(store, Pod("a", "y", {{"app", "db"}}));
  EXPECT_EQ(store.NamesMatching("a", web, names), names);
  EXPECT_THAT(store.NamesMatching("a", all, everything)->names, testing::ElementsAre("x", "y"));

  NameListPtr without = store.NamesMatching("a", quiet, nullptr);
  Put(store, Pod("a", "x", {{"app", "web"}, {"tier", "1"}}));
  EXPECT_THAT(store.NamesMatching("a", quiet, without)->names, testing::IsEmpty());
  store.Erase("a/x");
  EXPECT_THAT(store.NamesMatching("a", web, names)->names, testing::IsEmpty());
}

// Against the plain loop, over random content; name lists also while it changes.
TEST(ObjectStoreTest, AgreesWithALoopOverEverything) {
  std::mt19937 random(7);
  auto pick = [&random](int n) { return std::to_string(random() % static_cast<unsigned>(n)); };
  ObjectStore store;
  const std::vector<std::string> selectors = {"app=1",        "app=1,tier=0", "tier!=0,app=2",
                                              "app in (1,2)", "tier=1",       "app!=3"};
  std::map<std::string, NameListPtr> known;
  for (int i = 0; i < 3'000; ++i) {
    const std::string ns = "n" + pick(3);
    const std::string name = "p" + pick(300);
    if (random() % 4 == 0) {
      store.Erase(ns + "/" + name);
    } else {
      Put(store, Pod(ns, name, {{"app", pick(10)}, {"tier", pick(2)}}));
    }
    const std::string& text = selectors[random() % selectors.size()];
    auto selector = *LabelSelector::Parse(text);
    known[text] = store.NamesMatching("n1", selector, known[text]);
    ASSERT_EQ(known[text]->names, store.NamesMatching("n1", selector, nullptr)->names) << text;
  }
  for (const std::string& text : selectors) {
    auto selector = *LabelSelector::Parse(text);
    std::vector<ObjectStore::ObjectPtr> want;
    for (const auto& object : store.List()) {
      if (NamespaceOf(*object) == "n1" && selector.Matches(LabelsOf(*object))) want.push_back(object);
    }
    EXPECT_EQ(store.ListMatching("n1", selector), want) << text;
    EXPECT_FALSE(want.empty()) << text;
  }
}

}  // namespace
}  // namespace tidewright::kube
