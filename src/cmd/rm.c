/* gaufre rm NAME...: delete pulled models. */
#include <stdio.h>

#include "cmd/cmd.h"
#include "hub/hub.h"

static int rm_run(const struct cmd *c, void *opts, int argc, char **argv)
{
    struct hub *hub;
    struct err e = {0};
    int code = CMD_OK;

    if (hub_open(&hub, &e))
        return cmd_fail(c, &e);
    for (int i = 0; i < argc; i++) {
        char size[32];
        uint64_t bytes = 0;
        if (hub_remove(hub, argv[i], &bytes, &e))
            code = cmd_fail(c, &e);
        else
            cmd_note("%s: removed, %s freed", argv[i], cmd_bytes(bytes, size, sizeof size));
    }
    hub_close(hub);
    return code;
}

const struct cmd cmd_rm = {
    .name = "rm",
    .help = "Delete pulled models",
    .args = "NAME...",
    .about = "Names as 'gaufre list' shows them. Files outside $GAUFRE_HOME are never touched.\n"
             "What an interrupted pull left behind goes too.",
    .n_args_min = 1,
    .n_args_max = -1,
    .complete = CMD_COMPLETE_MODEL,
    .run = rm_run,
};
