// what: take over the watch with a listener of its own
// expect: blocked
// record: call_attempted seccomp
#include <linux/filter.h>
#include <linux/seccomp.h>
int main(void) {
    struct sock_filter all[] = {{6, 0, 0, SECCOMP_RET_USER_NOTIF}};
    struct sock_fprog program = {1, all};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program) < 0) return refused("seccomp");
    return escaped("a listener");
}
