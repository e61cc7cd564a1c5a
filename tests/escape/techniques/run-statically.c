// what: a program without the C library's entry points
// expect: recorded
// record: file_accessed static-was-here
int main(void) {
    long file;
#ifdef __x86_64__
    __asm__ volatile("syscall" : "=a"(file) : "a"(257), "D"(-100), "S"("static-was-here"), "d"(0101), "r"(0) : "rcx", "r11", "memory");
#else
    file = syscall(SYS_openat, -100, "static-was-here", 0101, 0600);
#endif
    printf(file >= 0 ? "DONE\n" : "no\n");
    return 0;
}
