// what: the same through /proc/self/fd
// expect: recorded
// record: call_attempted memfd_create
// record: process_started DONE
#include <sys/mman.h>
int main(void) {
    int memory = memfd_create("hidden", 0);
    int program = open("/bin/echo", O_RDONLY);
    char bytes[65536], path[64];
    long length;
    while ((length = read(program, bytes, sizeof bytes)) > 0) if (write(memory, bytes, length) != length) return 1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", memory);
    execl(path, "echo", "DONE", (char *)0);
    return refused("execl");
}
