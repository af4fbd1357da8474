// The program `muster`.
#include <fcntl.h>
#include <unistd.h>

#include "commands/command.h"

namespace {

// A pipe that took the place of a closed standard descriptor would be mistaken for it.
void open_standard_descriptors() {
  int fd;
  do {
    fd = open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  open_standard_descriptors();
  return muster::launcher::run_muster({argv + 1, argv + argc});
}
