/* Runs before the first paint, so that a chosen theme never flashes. A classic script: modules wait. */
(function () {
    'use strict';
    var kept = null;
    try {
        kept = localStorage.getItem('gaufre.theme');
    } catch (e) { /* storage may be switched off */ }
    document.documentElement.dataset.theme = kept === 'light' || kept === 'dark' ? kept : 'auto';
})();
