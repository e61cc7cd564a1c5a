// what: make a file handle of its own and open that
// expect: blocked
// record: call_attempted open_by_handle_at
// bare: works
#include <fcntl.h>
int main(void) {
    struct { struct file_handle head; char bytes[128]; } handle = {.head = {.handle_bytes = 128}};
    int mount;
    char path[4096];
    snprintf(path, sizeof path, "%s/key", GUARDED);
    if (name_to_handle_at(AT_FDCWD, path, &handle.head, &mount, 0)) perror("name_to_handle_at");
    int root = open("/", O_RDONLY);
    int file = open_by_handle_at(root, &handle.head, O_RDONLY);
    if (file < 0) return refused("open_by_handle_at");
    return leak_from(file);
}
