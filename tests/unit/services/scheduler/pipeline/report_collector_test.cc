#include "services/scheduler/pipeline/report_collector.h"

#include "gtest/gtest.h"

namespace baton::scheduler {
namespace {

v1::StepReport MakeReport(StepId step_id, std::optional<TokenId> token = std::nullopt) {
  v1::StepReport report;
  report.set_step_id(step_id);
  if (token.has_value()) {
    report.add_tokens()->set_token_id(*token);
    report.mutable_tokens(0)->mutable_logprobs();
  }
  return report;
}

TEST(ReportCollector, CompletesAStepWhenEveryStageHasReported) {
  ReportCollector reports(2);
  reports.Sent(1);
  reports.Sent(2);
  EXPECT_FALSE(reports.Add(1, MakeReport(1, 7)).value().has_value());
  EXPECT_FALSE(reports.Add(1, MakeReport(2, 8)).value().has_value());
  const std::optional<CollectedStep> first = reports.Add(0, MakeReport(1)).value();
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->result.step_id, 1u);
  EXPECT_EQ(first->result.tokens[0].token, 7u);
  EXPECT_EQ(first->logprobs.size(), 1u);
  EXPECT_EQ(reports.Add(0, MakeReport(2)).value()->result.tokens[0].token, 8u);
}

TEST(ReportCollector, KeepsTokensAndDraftsOfASequenceApart) {
  ReportCollector reports(1);
  reports.Sent(1);
  v1::StepReport report = MakeReport(1, 7);
  v1::SampledToken* second = report.add_tokens();
  second->set_position(1);
  second->mutable_logprobs()->mutable_token()->set_rank(4);
  v1::DraftedTokens* drafts = report.add_drafts();
  drafts->set_sequence_id(3);
  drafts->add_token_ids(20);
  drafts->add_token_ids(21);
  const std::optional<CollectedStep> done = reports.Add(0, report).value();
  EXPECT_EQ(done->result.tokens.size(), 2u);
  EXPECT_EQ(done->logprobs.at({0, 1}).token().rank(), 4u);
  ASSERT_EQ(done->result.drafts.size(), 1u);
  EXPECT_EQ(done->result.drafts[0].id, 3u);
  EXPECT_EQ(done->result.drafts[0].tokens, (std::vector<TokenId>{20, 21}));
}

TEST(ReportCollector, RefusesDraftsOfAStageBeforeTheLast) {
  ReportCollector reports(2);
  reports.Sent(1);
  v1::StepReport report = MakeReport(1);
  report.add_drafts()->add_token_ids(20);
  EXPECT_TRUE(absl::IsDataLoss(reports.Add(0, report).status()));
}

TEST(ReportCollector, GathersTheTimesOfTheStages) {
  ReportCollector reports(2);
  reports.Sent(1);
  v1::StepReport report = MakeReport(1);
  report.set_compute_us(2500);
  EXPECT_FALSE(reports.Add(1, report).value().has_value());
  report.set_compute_us(500);
  const auto done = reports.Add(0, report).value();
  EXPECT_EQ(done->result.stage_seconds, (std::vector<double>{0.0005, 0.0025}));
}

TEST(ReportCollector, JoinsFaultsOfAllStages) {
  ReportCollector reports(2);
  reports.Sent(1);
  v1::StepReport report = MakeReport(1);
  report.add_faults()->set_message("bad");
  EXPECT_FALSE(reports.Add(0, report).value().has_value());
  const auto done = reports.Add(1, report).value();
  ASSERT_EQ(done->result.faults.size(), 2u);
  EXPECT_EQ(done->result.faults[1].message, "stage 1: bad");
  EXPECT_FALSE(done->result.faults[1].caused_by_request);
}

TEST(ReportCollector, DoesNotNameTheStageWhereTheRequestIsAtFault) {
  ReportCollector reports(1);
  reports.Sent(1);
  v1::StepReport report = MakeReport(1);
  report.add_faults()->set_message("no token can follow");
  report.mutable_faults(0)->set_caused_by_request(true);
  const auto done = reports.Add(0, report).value();
  ASSERT_EQ(done->result.faults.size(), 1u);
  EXPECT_TRUE(done->result.faults[0].caused_by_request);
  EXPECT_EQ(done->result.faults[0].message, "no token can follow");
}

TEST(ReportCollector, DoesNotNameTheStageThatOthersFill) {
  ReportCollector reports(1);
  reports.Sent(1);
  v1::StepReport report = MakeReport(1);
  report.add_faults()->set_message("no room for the constraint");
  report.mutable_faults(0)->set_overloaded(true);
  const auto done = reports.Add(0, report).value();
  ASSERT_EQ(done->result.faults.size(), 1u);
  EXPECT_TRUE(done->result.faults[0].overloaded);
  EXPECT_FALSE(done->result.faults[0].caused_by_request);
  EXPECT_EQ(done->result.faults[0].message, "no room for the constraint");
}

TEST(ReportCollector, RefusesReportsOutOfTurn) {
  ReportCollector reports(2);
  EXPECT_TRUE(absl::IsDataLoss(reports.Add(0, MakeReport(1)).status()));
  reports.Sent(1);
  reports.Sent(2);
  EXPECT_TRUE(absl::IsDataLoss(reports.Add(0, MakeReport(2)).status()));
  ASSERT_TRUE(reports.Add(0, MakeReport(1)).ok());
  EXPECT_TRUE(absl::IsDataLoss(reports.Add(0, MakeReport(1)).status()));
}

TEST(ReportCollector, RefusesTokensOfAStageThatIsNotTheLast) {
  ReportCollector reports(2);
  reports.Sent(1);
  EXPECT_TRUE(absl::IsDataLoss(reports.Add(0, MakeReport(1, 7)).status()));
}

TEST(ReportCollector, CountsFromOneAgainInANewEpoch) {
  ReportCollector reports(1);
  reports.Sent(1);
  reports.Reset();
  reports.Sent(1);
  EXPECT_TRUE(reports.Add(0, MakeReport(1)).value().has_value());
}

}  // namespace
}  // namespace baton::scheduler
