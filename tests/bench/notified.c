/* The least that seccomp's notifications cost: every call that the shim is asked about waits for this program, which looks at nothing,
 * records nothing and lets it go on. What a supervisor by notifications costs cannot be less; tests/bench/overhead.py measures it beside the shim.
 *
 *   notified <program> [<argument> …]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SET_FLAGS _IOW('!', 4, __u64) /* SECCOMP_IOCTL_NOTIF_SET_FLAGS, Linux 6.6 */
#define SYNC_WAKE_UP 1UL
#define WAIT_KILLABLE_RECV (1UL << 5)

static const unsigned calls[] = {
#ifdef SYS_open
    SYS_open, SYS_creat, SYS_unlink, SYS_rmdir, SYS_mkdir, SYS_rename, SYS_link, SYS_symlink, SYS_chmod, SYS_chown,
#endif
    SYS_openat, SYS_openat2, SYS_execve, SYS_execveat, SYS_unlinkat, SYS_mkdirat, SYS_renameat2, SYS_linkat, SYS_symlinkat,
    SYS_truncate, SYS_fchmod, SYS_fchmodat, SYS_fchown, SYS_fchownat, SYS_connect, SYS_sendto, SYS_bind, SYS_listen,
};
#define CALLS (sizeof calls / sizeof *calls)

static void fail(const char *what) {
  perror(what);
  exit(1);
}

/* Nothing that comes before the listener has been handed over may be a call that waits: sendmsg is therefore not among them. */
static int filtered(void) {
  struct sock_filter program[2 + CALLS + 1] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
  for (size_t i = 0; i < CALLS; i++)
    program[1 + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i], CALLS - i, 0);
  program[1 + CALLS] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  program[2 + CALLS] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
  struct sock_fprog whole = {sizeof program / sizeof *program, program};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) fail("no_new_privs");
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER | WAIT_KILLABLE_RECV, &whole);
}

/* Sends the descriptor `fd` over `socket`, or receives one where `fd` is negative. */
static int pass(int socket, int fd) {
  char byte = 0, room[CMSG_SPACE(sizeof fd)] = {0};
  struct iovec part = {&byte, 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
  struct cmsghdr *head = CMSG_FIRSTHDR(&message);
  if (fd >= 0) {
    *head = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
    return sendmsg(socket, &message, 0);
  }
  if (recvmsg(socket, &message, 0) != 1) return -1;
  memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
  return fd;
}

int main(int count, char **words) {
  int line[2], status;
  if (count < 2) return 64;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line)) fail("socketpair");
  pid_t child = fork();
  if (child == 0) {
    int listener = filtered();
    if (listener < 0) fail("seccomp");
    if (pass(line[1], listener) < 0) fail("sendmsg");
    close(listener);
    execvp(words[1], words + 1);
    fail(words[1]);
  }
  close(line[1]);
  int listener = pass(line[0], -1);
  if (listener < 0) fail("no listener");
  ioctl(listener, SET_FLAGS, SYNC_WAKE_UP);
  for (;;) {
    struct seccomp_notif call;
    memset(&call, 0, sizeof call);
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call)) {
      /* A caller that died has gone; so has the last one, when there is nothing to wait for any more. */
      if (errno == EINTR || (errno == ENOENT && waitpid(child, &status, WNOHANG) == 0)) continue;
      break;
    }
    struct seccomp_notif_resp answer = {.id = call.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
  }
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
