/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/password.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

void
password_forget(struct password *password)
{
    OPENSSL_cleanse(password, sizeof *password);
}

/** Cuts the line's end off, and refuses what is none. */
static int
check(const struct ctl *ctl, struct password *password)
{
    password->bytes = strcspn(password->text, "\r\n");
    password->text[password->bytes] = '\0';
    if (password->bytes == 0)
        return ctl_fail(ctl, "the password is empty: nothing was changed");
    if (password->bytes > PASSWORD_BYTES_MAX)
        return ctl_fail(ctl, "a password has at most %d bytes", PASSWORD_BYTES_MAX);
    return CTL_OK;
}

static int
read_line(const struct ctl *ctl, FILE *from, struct password *password)
{
    if (!fgets(password->text, sizeof password->text, from))
        password->text[0] = '\0';
    return check(ctl, password);
}

static int
read_file(const struct ctl *ctl, const char *file, struct password *password)
{
    FILE *from = fopen(file, "re");
    if (!from)
        return ctl_fail(ctl, "%s: %s", file, strerror(errno));
    int code = read_line(ctl, from, password);
    fclose(from);
    return code;
}

/** Asks at the terminal while signals wait, so that the echo is back whatever happens. */
static int
ask(const struct ctl *ctl, FILE *terminal, const char *prompt, struct password *password)
{
    struct termios shown, hidden;
    sigset_t all, before;
    sigemptyset(&all);
    sigaddset(&all, SIGTSTP);
    if (tcgetattr(fileno(terminal), &shown) < 0)
        return ctl_fail(ctl, "the terminal: %s", strerror(errno));
    hidden = shown;
    /* Without ISIG an interrupt is a character like others: it ends the line below. */
    hidden.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
    fputs(prompt, terminal);
    fflush(terminal);
    sigprocmask(SIG_BLOCK, &all, &before);
    tcsetattr(fileno(terminal), TCSAFLUSH, &hidden);
    char *line = fgets(password->text, sizeof password->text, terminal);
    tcsetattr(fileno(terminal), TCSAFLUSH, &shown);
    sigprocmask(SIG_SETMASK, &before, NULL);
    fputc('\n', terminal);
    fflush(terminal);
    if (!line || strchr(password->text, '\003'))
        return ctl_fail(ctl, "interrupted: nothing was changed");
    return check(ctl, password);
}

static int
ask_twice(const struct ctl *ctl, FILE *terminal, struct password *password)
{
    struct password again;
    int code = ask(ctl, terminal, "New password: ", password);
    if (code != CTL_OK)
        return code;
    code = ask(ctl, terminal, "Once more: ", &again);
    if (code == CTL_OK && strcmp(password->text, again.text) != 0)
        code = ctl_fail(ctl, "the two passwords differ: nothing was changed");
    password_forget(&again);
    return code;
}

int
password_read(const struct ctl *ctl, const char *file, struct password *password)
{
    memset(password, 0, sizeof *password);
    if (file && strcmp(file, "-") != 0)
        return read_file(ctl, file, password);
    if (file || !isatty(STDIN_FILENO))
        return read_line(ctl, stdin, password);
    FILE *terminal = fopen("/dev/tty", "r+e");
    if (!terminal)
        return ctl_fail(ctl, "no terminal to ask at: give --password-file");
    int code = ask_twice(ctl, terminal, password);
    fclose(terminal);
    return code;
}

int
password_salt(const struct ctl *ctl, const struct password *password, enum bus_mechanism mechanism,
    int32_t iterations, struct password_salted *salted)
{
    const EVP_MD *hash = mechanism == BUS_SCRAM_SHA_256 ? EVP_sha256() : EVP_sha512();
    int n = mechanism == BUS_SCRAM_SHA_256 ? 32 : 64;
    salted->told = (struct bus_password){
        mechanism, iterations, salted->salt, sizeof salted->salt, salted->salted, (size_t)n};
    if (RAND_bytes(salted->salt, sizeof salted->salt) != 1 ||
        PKCS5_PBKDF2_HMAC(password->text, (int)password->bytes, salted->salt,
            (int)sizeof salted->salt, iterations, hash, n, salted->salted) != 1)
        return ctl_fail(ctl, "libcrypto could not salt the password");
    return CTL_OK;
}
