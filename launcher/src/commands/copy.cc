// muster copy
#include <cstdio>

#include "commands/command.h"
#include "commands/sibling_program.h"
#include "commands/words.h"
#include "muster/base/error.h"

namespace muster::launcher {

int copy_command(const Words& words) {
  if (wants_help(words)) {
    std::fputs(copy_command_help().c_str(), stdout);
    return 0;
  }
  take_words(words, "copy", {}, 2, 2);
  leave_stores_to_sibling("copy", words);
  throw ConfigError(
      "muster copy: expected one place in an object store, s3://BUCKET/PREFIX, found "
      "two on disk; copy those with cp -r");
}

std::string copy_command_help() {
  return "usage: muster copy DIR s3://BUCKET/PREFIX\n"
         "       muster copy s3://BUCKET/PREFIX DIR\n"
         "Copies a checkpoint to an S3-compatible store, or back, as step-NNNNNNNN in the target. "
         "The source is a\n"
         "checkpoint, or a directory of them: then the newest. In the store it exists once it is "
         "whole; on disk every\n"
         "byte is checked first. Credentials are AWS's own (AWS_ACCESS_KEY_ID, ~/.aws, ...); "
         "AWS_ENDPOINT_URL names\n"
         "another store than Amazon's.\n";
}

}  // namespace muster::launcher
