#include "kernels/reference/reference_ops.h"
#include "kernels/reference/rows.h"

namespace baton::kernels {

void ReferenceOps::Embed(const EmbedArgs& args) {
  BATON_CHECK(args.table.columns == args.out.columns);
  for (size_t t = 0; t < args.token_ids.size(); ++t) {
    const int64_t row = int64_t{args.token_ids[t]} - int64_t{args.vocabulary_begin};
    const bool here = row >= 0 && row < args.table.rows;
    StoreRow(here ? LoadRow(args.table, row) : std::vector<float>(args.out.columns), args.out,
             static_cast<int64_t>(t));
  }
}

}  // namespace baton::kernels
