// what: mount its folder somewhere else
// expect: blocked
// record: call_attempted mount
#include <sys/mount.h>
int main(void) {
    mkdir("mnt", 0755);
    if (mount(GUARDED, "mnt", 0, MS_BIND, 0)) return refused("mount");
    return leak_from(open("mnt/key", O_RDONLY));
}
