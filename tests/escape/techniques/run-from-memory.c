// what: execute a program that has no file (memfd, fexecve)
// expect: recorded
// record: call_attempted memfd_create
// record: process_started memfd
#include <sys/mman.h>
extern char **environ;
int main(void) {
    int memory = memfd_create("hidden", 0);
    int program = open("/bin/echo", O_RDONLY);
    char bytes[65536];
    long length;
    while ((length = read(program, bytes, sizeof bytes)) > 0) if (write(memory, bytes, length) != length) return 1;
    char *argv[] = {"echo", "DONE", 0};
    fexecve(memory, argv, environ);
    return refused("fexecve");
}
