// what: read another process
// expect: blocked
// record: call_attempted process_vm_readv
#include <sys/uio.h>
int main(void) {
    char byte;
    struct iovec here = {&byte, 1}, there = {&byte, 1};
    return process_vm_readv(getppid(), &here, 1, &there, 1, 0) < 0 ? refused("process_vm_readv") : escaped("read");
}
