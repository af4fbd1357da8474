// The note in the program's headers.
#include "muster/base/build_id.h"

#include <elf.h>
#include <link.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace muster {
namespace {

constexpr std::size_t kNoteAlignment = 4;

std::size_t aligned(std::size_t bytes) {
  return (bytes + kNoteAlignment - 1) / kNoteAlignment * kNoteAlignment;
}

std::string hexadecimal(const unsigned char* data, std::size_t bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < bytes; ++i) {
    text += kDigits[data[i] / 16];
    text += kDigits[data[i] % 16];
  }
  return text;
}

std::string build_id_in(const unsigned char* notes, std::size_t bytes) {
  for (std::size_t at = 0; at + sizeof(ElfW(Nhdr)) <= bytes;) {
    ElfW(Nhdr) note;
    std::memcpy(&note, notes + at, sizeof(note));
    const std::size_t name = at + sizeof(note);
    const std::size_t data = name + aligned(note.n_namesz);
    if (data + note.n_descsz > bytes) return "";
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof(ELF_NOTE_GNU) &&
        std::memcmp(notes + name, ELF_NOTE_GNU, sizeof(ELF_NOTE_GNU)) == 0)
      return hexadecimal(notes + data, note.n_descsz);
    at = data + aligned(note.n_descsz);
  }
  return "";
}

/// The first that is shown is the program itself.
int take_first(dl_phdr_info* info, std::size_t, void* build_id) {
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& header = info->dlpi_phdr[i];
    if (header.p_type != PT_NOTE) continue;
    const auto* notes = reinterpret_cast<const unsigned char*>(info->dlpi_addr + header.p_vaddr);
    const std::string found = build_id_in(notes, header.p_memsz);
    if (found.empty()) continue;
    *static_cast<std::string*>(build_id) = found;
    break;
  }
  return 1;
}

}  // namespace

std::string own_build_id() {
  std::string build_id;
  dl_iterate_phdr(take_first, &build_id);
  return build_id;
}

}  // namespace muster
