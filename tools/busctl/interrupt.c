/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/interrupt.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t came;
static struct bus_consumer *volatile waiting;

static void
on_signal(int signal_number)
{
    (void)signal_number;
    int saved = errno;
    came = 1;
    struct bus_consumer *consumer = waiting;
    if (consumer)
        bus_wakeup(consumer);
    errno = saved;
}

void
interrupt_catch(struct bus_consumer *consumer)
{
    struct sigaction action = {.sa_handler = on_signal};
    action.sa_flags = (int)SA_RESETHAND;
    waiting = consumer;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

void
interrupt_release(void)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    waiting = NULL;
}

bool
interrupted(void)
{
    return came != 0;
}
