// what: forbid others to look into its memory, then act
// expect: recorded
// record: file_accessed dark
#include <sys/prctl.h>
int main(void) {
    prctl(PR_SET_DUMPABLE, 0);
    if (open("dark", O_CREAT | O_WRONLY, 0600) < 0) return refused("open");
    printf("DONE\n");
    return 0;
}
