// what: open it by a 32-bit call
// expect: blocked
// record: process_exited signal: Some(31)
// needs: x86_64
#include <sys/mman.h>
int main(void) {
    char *low = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    snprintf(low, 4096, "%s/key", GUARDED);
    long file;
    __asm__ volatile("int $0x80" : "=a"(file) : "a"(5), "b"(low), "c"(0), "d"(0) : "memory");
    if (file < 0) return refused("32-bit open");
    return leak_from(file);
}
