// what: execute from a child that shares memory
// expect: recorded
// record: process_started DONE
#include <sys/wait.h>
int main(void) {
    if (vfork() == 0) { execl("/bin/echo", "echo", "DONE", (char *)0); _exit(1); }
    wait(0);
    return 0;
}
