typedef int policy_empty; /* removed with the first real file */
