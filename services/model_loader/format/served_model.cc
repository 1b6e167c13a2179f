#include "services/model_loader/format/served_model.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

#include "common/digest/sha256.h"
#include "common/status/status_macros.h"

namespace baton::loader {

absl::StatusOr<ServedModel> OpenServedModel(const FolderOptions& folder,
                                            const RangeReaderOptions& options) {
  ServedModel model;
  ASSIGN_OR_RETURN(model.config_json, ReadModelConfigText(folder.path));
  ASSIGN_OR_RETURN(model.config, ParseModelConfig(model.config_json));
  model.fingerprint = ModelFingerprint(model.config_json);
  ASSIGN_OR_RETURN(model.checkpoint, Checkpoint::Open(folder, options));
  model.checkpoint_fingerprint = absl::BytesToHexString(
      AsBytes(Sha256(absl::StrCat(model.fingerprint, model.checkpoint->Fingerprint()))));
  RETURN_IF_ERROR(CheckAgainstInventory(*model.checkpoint, model.config));
  return model;
}

}  // namespace baton::loader
