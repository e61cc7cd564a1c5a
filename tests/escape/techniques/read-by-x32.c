// what: open it by a call of the x32 ABI
// expect: blocked
// record: call_attempted x32
// needs: x86_64
int main(void) {
    char path[4096];
    snprintf(path, sizeof path, "%s/key", GUARDED);
    int file = syscall(0x40000000 + 2, path, O_RDONLY, 0);
    if (file < 0) return refused("x32 open");
    return leak_from(file);
}
