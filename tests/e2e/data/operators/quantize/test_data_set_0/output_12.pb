By12J ®ÔÄfÆrDG)EQliÅáâÏD)˜Å
>D…“ÞÄ…#öDÌLÅ£põÁžD
!ŠE
Ÿ	ÅÌ8E=oDGE®ûCEÌ,}DGMÅ£ˆ{EÕäÄõh‰D£Ð¥Cë¡„Ä.[Å¸>§Ãõx'Å~®Äë¡yD3w?E(<øÃQxEÃëqmE\c…EòoD…+*C3_E×û›DáZnÄAsÅzä+ÄÌ`ˆEf®REVÿD®¿§DÿpÄQ,sEÖç~EpµÚÄ…eE3»6Å¸^¼DµéD
{[E)$1Å£è¸Ä®KKÅ\fÅÌ|ÄEtE=’óDÿ§ÓDázOÄ£ø•D)<E\ËSE…©ÁrÂÄ£¸ÄfÖBD)ì"D