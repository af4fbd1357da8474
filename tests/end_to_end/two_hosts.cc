// A host is a process that has unshared its network, its name and its mounts, and sleeps. Who wants
// to be on that host enters its namespaces.
#include "two_hosts.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace muster::testing {
namespace {

constexpr const char* kNetwork = "10.77.0.0/24";

std::string address(int host) { return host == 0 ? "10.77.0.1" : "10.77.0.2"; }

bool has_program(const std::string& name) {
  return std::system(("command -v " + name + " >/dev/null 2>&1").c_str()) == 0;
}

/// In the child: become the host, say so, and stay for as long as the parent.
[[noreturn]] void be_host(int number, const std::string& hosts_file, int ready) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const char* const name = TwoHosts::name(number);
  const bool good = unshare(CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWNS) == 0 &&
                    sethostname(name, std::strlen(name)) == 0 &&
                    mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                    mount(hosts_file.c_str(), "/etc/hosts", nullptr, MS_BIND, nullptr) == 0 &&
                    // What ranks that are killed leave there goes with the host.
                    mount("tmpfs", "/dev/shm", "tmpfs", 0, nullptr) == 0;
  const char word = good ? 1 : 0;
  if (write(ready, &word, 1) != 1 || !good) _exit(1);
  for (;;) pause();
}

std::string enter(pid_t holder) {
  return "nsenter --target " + std::to_string(holder) + " --net --uts --mount ";
}

/// Nothing when the process is gone.
std::filesystem::path network_of(const std::filesystem::path& process) {
  std::error_code gone;
  return std::filesystem::read_symlink(process / "ns" / "net", gone);
}

/// Ends what still runs on the host, whoever its parent is by now, but for the holder. Open MPI's
/// daemon dies now and then when a rank does, and leaves others spinning.
void end_leftovers(pid_t holder) {
  const std::filesystem::path processes = "/proc";
  const auto network = network_of(processes / std::to_string(holder));
  if (network.empty()) return;
  for (const auto& entry : std::filesystem::directory_iterator(processes)) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const pid_t pid = std::stoi(name);
    if (pid != holder && network_of(entry.path()) == network) kill(pid, SIGKILL);
  }
}

}  // namespace

std::string TwoHosts::missing() {
  if (geteuid() != 0) return "two hosts need root";
  for (const char* program : {"ip", "nsenter"}) {
    if (!has_program(program)) return std::string("two hosts need the program ") + program;
  }
  const pid_t child = fork();
  if (child == 0) _exit(unshare(CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWNS) == 0 ? 0 : 1);
  int status = 1;
  waitpid(child, &status, 0);
  return status == 0 ? "" : "two hosts need namespaces, which this container forbids";
}

TwoHosts::TwoHosts() {
  const std::string hosts_file = (scratch_.path() / "hosts").string();
  std::ofstream(hosts_file) << "127.0.0.1 localhost\n"
                            << address(0) << " " << name(0) << "\n"
                            << address(1) << " " << name(1) << "\n";
  for (int host = 0; host < 2; ++host) {
    int ends[2];
    if (pipe(ends) != 0) ADD_FAILURE() << "pipe";
    holders_[host] = fork();
    if (holders_[host] == 0) be_host(host, hosts_file, ends[1]);
    close(ends[1]);
    char word = 0;
    EXPECT_TRUE(::read(ends[0], &word, 1) == 1 && word == 1) << "a host could not be made";
    close(ends[0]);
  }
  shell(enter(holders_[0]) + "ip link add cable type veth peer name cable netns " +
        std::to_string(holders_[1]));
  for (int host = 0; host < 2; ++host) {
    const std::string ip = enter(holders_[host]) + "ip ";
    shell(ip + "addr add " + address(host) + "/24 dev cable");
    shell(ip + "link set cable up");
    shell(ip + "link set lo up");
  }
  const auto agent = scratch_.path() / "agent";
  std::ofstream(agent) << "#!/bin/bash\nh=$1; shift\ncase $h in\n"
                       << name(0) << ") p=" << holders_[0] << ";;\n"
                       << name(1) << ") p=" << holders_[1] << ";;\n"
                       << "*) exit 1;;\nesac\n"
                       << "exec nsenter --target $p --net --uts --mount bash -c \"$*\"\n";
  std::filesystem::permissions(agent, std::filesystem::perms::owner_all);
}

TwoHosts::~TwoHosts() {
  for (const pid_t holder : holders_) {
    if (holder <= 0) continue;
    end_leftovers(holder);
    kill(holder, SIGKILL);
    waitpid(holder, nullptr, 0);
  }
}

void TwoHosts::shell(const std::string& command) const {
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
}

std::vector<std::string> TwoHosts::on(int host, const std::vector<std::string>& words) const {
  std::vector<std::string> all{"nsenter", "--target", std::to_string(holders_[host]),
                               "--net",   "--uts",    "--mount"};
  all.insert(all.end(), words.begin(), words.end());
  return all;
}

std::map<std::string, std::string> TwoHosts::environment() const {
  const std::string agent = (scratch_.path() / "agent").string();
  return {{"TMPDIR", scratch_.path().string()},  // of Open MPI's daemons: the same
          {"PRTE_MCA_plm_ssh_agent", agent},        {"OMPI_MCA_plm_rsh_agent", agent},
          {"PRTE_MCA_prte_if_include", kNetwork},   {"OMPI_MCA_oob_tcp_if_include", kNetwork},
          {"OMPI_MCA_btl_tcp_if_include", kNetwork}};
}

std::string TwoHosts::mpirun_words(int ranks_of_each) {
  const std::string count = std::to_string(ranks_of_each);
  return "--map-by ppr:" + count + ":node --host " + name(0) + ":" + count + "," + name(1) + ":" +
         count;
}

std::string TwoHosts::mpirun_words(int ranks_of_first, int ranks_of_second) {
  return "-n " + std::to_string(ranks_of_first + ranks_of_second) + " --map-by slot --host " +
         name(0) + ":" + std::to_string(ranks_of_first) + "," + name(1) + ":" +
         std::to_string(ranks_of_second);
}

ProgramResult TwoHosts::run(const std::string& command) const {
  const ScratchDirectory scratch;
  const std::string script =
      ". " MUSTER_SOURCE_DIR "/scripts/env && PATH=" MUSTER_BIN_DIR ":$PATH && " + command;
  ProgramResult result =
      Program(on(0, {"bash", "-c", script}), scratch.path(), environment()).wait();
  for (const pid_t holder : holders_) end_leftovers(holder);
  return result;
}

bool TwoHosts::slow_down(int host, int megabits_per_second) const {
  if (!has_program("tc")) return false;
  shell(enter(holders_[host]) + "tc qdisc add dev cable root tbf rate " +
        std::to_string(megabits_per_second) + "mbit burst 64kb latency 100ms");
  return true;
}

}  // namespace muster::testing
