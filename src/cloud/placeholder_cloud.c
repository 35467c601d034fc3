typedef int cloud_empty; /* removed with the first real file */
