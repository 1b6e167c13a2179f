#include "services/scheduler/pipeline/step_encoding.h"

#include "common/log/check.h"

namespace baton::scheduler {

v1::StepCommand EncodeStep(const Batch& batch, uint64_t epoch, const Schedule& schedule,
                           const std::function<const v1::SamplingParams&(SequenceId)>& sampling) {
  v1::StepCommand command;
  command.set_epoch(epoch);
  command.set_step_id(batch.step_id);
  command.set_work_waited(batch.work_waited);
  for (const BatchRow& row : batch.rows) {
    if (row.begins) {
      const Sequence* sequence = schedule.Find(row.id);
      BATON_CHECK(sequence != nullptr) << "sequence " << row.id << " begins but is not live";
      v1::NewSequence* learned = command.add_new_sequences();
      learned->set_sequence_id(row.id);
      learned->mutable_token_ids()->Add(sequence->tokens().begin(), sequence->tokens().end());
      learned->set_num_prompt_tokens(sequence->num_prompt_tokens());
      learned->set_num_cached_tokens(row.begin);
      *learned->mutable_sampling() = sampling(row.id);
    }
    v1::SequenceChunk* chunk = command.add_chunks();
    chunk->set_sequence_id(row.id);
    chunk->set_begin(row.begin);
    chunk->set_num_tokens(row.num_tokens);
    chunk->mutable_appended_token_ids()->Add(row.appended.begin(), row.appended.end());
    chunk->mutable_new_block_ids()->Add(row.new_blocks.begin(), row.new_blocks.end());
    chunk->set_sample(row.sample);
    chunk->mutable_draft_token_ids()->Add(row.drafts.begin(), row.drafts.end());
    chunk->set_feedback_step_id(row.feedback_step);
  }
  command.mutable_finished_sequence_ids()->Add(batch.finished.begin(), batch.finished.end());
  return command;
}

}  // namespace baton::scheduler
