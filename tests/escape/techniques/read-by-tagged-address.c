// what: open it by a path whose address carries a tag
// expect: blocked
// record: file_accessed key
// needs: aarch64
// bare: works
#include <sys/prctl.h>
int main(void) {
    char path[4096];
    snprintf(path, sizeof path, "%s/key", GUARDED);
    // The kernel then ignores the highest byte of an address.
    if (prctl(PR_SET_TAGGED_ADDR_CTRL, PR_TAGGED_ADDR_ENABLE, 0, 0, 0)) perror("prctl");
    return leak_from(open((char *)((unsigned long)path | 0xa5ul << 56), O_RDONLY));
}
