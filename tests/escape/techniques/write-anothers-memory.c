// what: write into another process
// expect: blocked
// record: call_attempted process_vm_writev
#include <sys/uio.h>
int main(void) {
    struct iovec part = {"x", 1};
    return process_vm_writev(getppid(), &part, 1, &part, 1, 0) < 0 ? refused("process_vm_writev") : escaped("wrote");
}
