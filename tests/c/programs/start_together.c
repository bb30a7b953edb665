/* start_together COUNT PROGRAM ARGUMENTS...: execute a program so many times at once, and wait for
 * all of them. Fails when one fails. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    int shot[2], status, failed = 0;
    char unused;
    if (argc < 3 || pipe2(shot, O_CLOEXEC) != 0) {
        return 2;
    }
    for (int i = 0; i < atoi(argv[1]); i++) {
        if (fork() == 0) {
            close(shot[1]);
            if (read(shot[0], &unused, 1) == 0) { /* the other end is closed: now */
                execv(argv[2], argv + 2);
            }
            _exit(3);
        }
    }
    close(shot[1]);
    while (wait(&status) > 0) {
        failed |= status;
    }
    return failed != 0;
}
