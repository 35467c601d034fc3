typedef int hub_empty; /* removed with the first real file */
