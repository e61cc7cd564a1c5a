// what: execute a file by its descriptor
// expect: recorded
// record: process_started DONE
extern char **environ;
int main(void) {
    char *argv[] = {"echo", "DONE", 0};
    int program = open("/bin/echo", O_PATH);
    syscall(SYS_execveat, program, "", argv, environ, AT_EMPTY_PATH);
    return refused("execveat");
}
