// what: open it by a call of a 32-bit ARM program
// expect: blocked
// record: process_exited signal: Some(31)
// needs: 32-bit ARM
// bare: works
#include <elf.h>
// Opens its first argument, reads from it, and writes its second one to its output when there was something to be read.
static const unsigned program[] = {
    0xe59d0008, 0xe3a01000, 0xe3a02000, 0xe3a07005, 0xef000000, // ldr r0, [sp, #8]; mov r1, #0; mov r2, #0; mov r7, #5; svc 0
    0xe59d400c, 0xe24dd040, 0xe1a0100d, 0xe3a0203f, 0xe3a07003, // ldr r4, [sp, #12]; sub sp, sp, #64; mov r1, sp; mov r2, #63; mov r7, #3
    0xef000000, 0xe3500000, 0xda000004, 0xe3a00001, 0xe1a01004, // svc 0; cmp r0, #0; ble 1f; mov r0, #1; mov r1, r4
    0xe3a02007, 0xe3a07004, 0xef000000, 0xe3a00000, 0xe3a07001, // mov r2, #7; mov r7, #4; svc 0; 1: mov r0, #0; mov r7, #1
    0xef000000,                                                 // svc 0
};
int main(void) {
    struct { Elf32_Ehdr head; Elf32_Phdr part; unsigned code[sizeof program / 4]; } file = {
        .head = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT}, .e_type = ET_EXEC, .e_machine = EM_ARM,
                 .e_version = EV_CURRENT, .e_phoff = sizeof(Elf32_Ehdr), .e_flags = EF_ARM_EABI_VER5, .e_ehsize = sizeof(Elf32_Ehdr),
                 .e_phentsize = sizeof(Elf32_Phdr), .e_phnum = 1},
        .part = {.p_type = PT_LOAD, .p_vaddr = 0x10000, .p_filesz = sizeof file, .p_memsz = sizeof file, .p_flags = PF_R | PF_X,
                 .p_align = 0x10000},
    };
    file.head.e_entry = 0x10000 + (char *)file.code - (char *)&file;
    memcpy(file.code, program, sizeof program);
    int out = open("arm", O_CREAT | O_WRONLY, 0755);
    if (out < 0 || write(out, &file, sizeof file) != sizeof file) return refused("write");
    close(out);
    char path[4096];
    snprintf(path, sizeof path, "%s/key", GUARDED);
    execl("./arm", "arm", path, "ESCAPED", (char *)0);
    return refused("exec");
}
